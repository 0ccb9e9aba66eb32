"""The management plane: configuration model, rendering, configd, CLI and portal."""

__version__ = "0.1.0"
