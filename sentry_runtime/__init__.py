"""The data plane: everything that happens to a device's request."""
