"""Updates: who signs them, the bundle that holds a slot, and what a machine needs to take one."""
