"""Where the alert service looks: the journal's lines of root's processes, and what configd says of the machine."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from appliance import process
from appliance.alerts.entries import FIELDS, Line, lines_of
from appliance.configd import api
from appliance.configd.client import Client, Refused, Unreachable

LINES = 500  # of the journal at one look; what is more comes with the next
READ_SECONDS = 20.0


class LookError(RuntimeError):
    """A source does not answer; the message says which and why."""


class Sources(Protocol):
    """What is looked at."""

    def newest(self) -> str:
        """The journal's end, from which a service that remembers nothing begins. Raises `LookError`."""

    def lines(self, cursor: str) -> list[Line]:
        """The journal's lines after `cursor`, oldest first. Raises `LookError`."""

    def health(self, *, thorough: bool) -> api.Health:
        """configd's facts. Raises `LookError`."""


@dataclass(slots=True)
class Machine:
    """The sources of the machine we run on. Blocking."""

    run: Callable[..., str] = process.run
    socket: str = api.SOCKET
    _client: Client | None = field(default=None, init=False)
    _session: str = field(default="", init=False)

    def newest(self) -> str:
        """See `Sources.newest`. A journal without such lines has its end where it begins."""
        found = self._journal(["--lines=1"])
        return found[-1].cursor if found else ""

    def lines(self, cursor: str) -> list[Line]:
        """See `Sources.lines`."""
        after = [f"--after-cursor={cursor}"] if cursor else []
        return self._journal([*after, f"--lines=+{LINES}"])

    def _journal(self, words: list[str]) -> list[Line]:
        argv = ["journalctl", "--quiet", "--no-pager", "--all", "--output=json", f"--output-fields={FIELDS}"]
        try:
            printed = self.run([*argv, *words, "_UID=0", "+", "_TRANSPORT=kernel"], seconds=READ_SECONDS)
        except process.CommandError as error:
            raise LookError(f"the journal: {error}") from error
        return list(lines_of(printed))

    def health(self, *, thorough: bool) -> api.Health:
        """See `Sources.health`. The session stays open; one that has ended is opened anew."""
        try:
            if self._client is None:
                self._client = Client(self.socket, seconds=READ_SECONDS)
                opened = self._client.call(api.OpenSession(source="sentry-alerts", interactive=False), api.Session)
                self._session = opened.handle
            return self._client.call(api.LookAtHealth(session=self._session, thorough=thorough), api.Health)
        except (Refused, Unreachable) as error:
            if self._client is not None:
                self._client.close()
            self._client = None
            raise LookError(str(error)) from error
