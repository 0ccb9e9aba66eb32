"""Alerts: what the appliance's people must hear of, by mail; a process of its own that is never root."""
