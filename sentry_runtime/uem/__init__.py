"""Sentry's side of the UEM: the messages and the link."""
