"""The agent: the one writer of the device list, and Sentry's side of the link to the UEM."""
