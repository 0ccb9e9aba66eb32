"""Sends sealed backups to other machines, as an account of its own: it has the file, which tells it nothing, and its own keys."""
