"""What comes with an image: digests and their signature, what is in it, and what to know of it."""
