"""The targets, by what their bytes are."""
