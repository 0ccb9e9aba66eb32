"""What the alert service remembers, as it lies on the disk: everything bounded, nothing secret."""

import msgspec

Key = str
"""An alert and its subject with a blank between: an alert's name has none."""


def key_of(alert: str, subject: str) -> Key:
    """The key of an alert on a subject."""
    return f"{alert} {subject}"


class Item(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is to be told: an alert on a subject, `count` times from `first` to `last` (seconds since the epoch).

    `over`: it has ended by now. `since` and `not_before` are of the clock that nobody can set.
    """

    alert: str
    subject: str
    words: str
    first: float
    last: float
    since: float
    not_before: float = 0.0
    count: int = 1
    over: bool = False

    @property
    def key(self) -> Key:
        """Its key."""
        return key_of(self.alert, self.subject)


class Standing(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What has been raised and is not over: since when (seconds since the epoch), and how bad."""

    words: str
    since: float
    level: str = ""


class Letter(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One mail: written down before it is sent, so that one that is sent a second time has the name of the first."""

    name: str
    items: list[Item]
    lost: int = 0


class Past(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What has been told: `how` is `mailed` or `logged`."""

    item: Item
    how: str


class State(msgspec.Struct, kw_only=True, omit_defaults=True):
    """All of it. `clock` and `wall` are of the moment it was written, `boot` says of which start of the machine `clock` is."""

    format: int = 1
    boot: str = ""
    clock: float = 0.0
    wall: float = 0.0
    cursor: str = ""
    """Up to where the journal has been read."""
    standing: dict[Key, Standing] = {}
    holding: dict[Key, float] = {}
    """What holds, but not for long enough yet: since when, of `clock`."""
    waiting: list[Item] = []
    lately: dict[Key, float] = {}
    """Events that were mailed, and when: within the hour a repetition waits."""
    letter: Letter | None = None
    """A mail that may have been sent: only this very one may follow."""
    sent: list[float] = []
    """When mails went out in the last hour."""
    lost: int = 0
    """What found no room, until a mail has said so."""
    refusals: list[float] = []
    """When log-ins were refused last, seconds since the epoch."""
    counters: dict[str, int] = {}
    """What counters stood at when they were looked at last."""
    past: list[Past] = []
    tries: int = 0
    next_try: float = 0.0
    answer: str = ""
    """What the mail server said last."""
    problem: str = ""
    """Why the last mail could not be sent; empty when it could."""
