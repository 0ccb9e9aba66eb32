"""What keeps a copy from being sent."""


class SendError(RuntimeError):
    """A backup could not be sent; the message says why, and holds no secret."""
