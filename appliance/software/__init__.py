"""The software of an image: two slots, of which one runs; updates into the other, the way back, and whether what runs is well.

configd takes uploads and leaves orders (`spool`); a unit of its own, which may write to the slots, carries them out (`carrying`).
Neither imports the other: they share a folder, and what lies there are typed messages.
"""
