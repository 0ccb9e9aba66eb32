"""`make bench`: the gateway beside what a user would take instead of it, on one machine and in one run."""
