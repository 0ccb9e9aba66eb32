"""What configd asks the alert service, over a Unix socket: one line of JSON each way, as in `sentry_runtime.control`."""

import msgspec

SOCKET = "/run/sentry-alerts/alerts.sock"
LINE_BYTES = 4_096  # the longest request is a name
TEST_SECONDS = 130.0  # a mail has two minutes (`appliance.alerts.post`)


class _Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="do"):
    """Every request carries its name in `do`."""


class Status(_Ask, frozen=True, kw_only=True, tag="alerts.status"):
    """How it stands. Result: `Report`."""


class SendTest(_Ask, frozen=True, kw_only=True, tag="alerts.test"):
    """Send a mail to all recipients now, for the administrator `by`. Result: `Tested`."""

    by: str


Ask = Status | SendTest


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One alert: times in seconds since the epoch; `how` is `waits`, `mailed` or `logged`."""

    alert: str
    subject: str
    words: str
    first: float
    last: float
    count: int
    over: bool
    how: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How the service stands: what it goes by, what waits (oldest first) and what was told (newest first)."""

    server: str
    sender: str
    recipients: tuple[str, ...]
    per_hour: int
    batch_minutes: int
    actions: dict[str, str]
    sent_last_hour: int
    rows: tuple[Row, ...]
    lost: int
    answer: str
    problem: str


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a test mail: whether the server took it, and its last word."""

    sent: bool
    answer: str
