"""Reports: every one is made from a `Scan` and the catalogue, and from nothing else."""
