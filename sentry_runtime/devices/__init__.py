"""The device list: what the gateway knows of each (device, principal)."""
