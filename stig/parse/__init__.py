"""Readers of what programs print: text in, values out, nothing else."""
