"""The management plane: configuration model, rendering, configd, CLI and portal."""
