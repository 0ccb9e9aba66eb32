"""The REST API: an unprivileged face of configd for programs, below `/api/v1` on the portal's port."""
