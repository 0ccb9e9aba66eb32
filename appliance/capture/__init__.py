"""Captures of packets: a process of its own that may read packets and nothing else, for as long and as much as was asked."""
