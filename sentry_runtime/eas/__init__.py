"""Codecs of Exchange ActiveSync: bytes to values and back, with no input or output of their own."""
