"""Devices' certificates: reading them, whose they are, and whether they have been revoked. Bytes to values, no input or output
but loading the authorities.

X.509 is read by the library `cryptography`, which on the appliance is Debian's and does all its cryptography by the system's one
OpenSSL.
"""
