"""The command line of administrators: an IOS-like face of configd, and their only login shell."""
