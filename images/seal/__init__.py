"""Sealing: what a builder leaves in a tree is taken out, and a finished disk is read to see that nothing is left."""
