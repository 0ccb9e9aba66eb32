"""The only root part of the management plane: typed verbs on a Unix socket."""
