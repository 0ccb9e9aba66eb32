"""The scanner: the rules as data, a check for each, reports in the formats assessors load.

It looks at a machine from outside, as an assessor does, and imports no other room.
"""

VERSION = "0.1.0"
