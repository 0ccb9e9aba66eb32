"""A channel on which nothing ever happens by itself, for who is asked what comes over one."""

from sentry_runtime.gateway.intake import Channel


class StillChannel(Channel):
    """Takes everything, and says nothing."""

    def __init__(self) -> None:
        self.aborted = False

    @property
    def closing(self) -> bool:
        return self.aborted

    def write(self, data: bytes) -> None:
        """Into nowhere."""

    def pause_reading(self) -> None:
        """Nothing comes."""

    def resume_reading(self) -> None:
        """Nothing comes."""

    def close(self) -> None:
        self.aborted = True

    def abort(self) -> None:
        self.aborted = True

    def abandon(self) -> None:
        self.aborted = True

    def certificate(self) -> bytes | None:
        return None
