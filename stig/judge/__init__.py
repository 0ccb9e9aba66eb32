"""Judging: facts in, `Verdict` out. Pure; the looking is in `checks`."""
