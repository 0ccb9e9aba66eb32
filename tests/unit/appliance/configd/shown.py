"""A machine whose commands print what a test says, and the shapes of what is shown of it."""

from dataclasses import dataclass, field
from typing import Any

from appliance.configd.api import Facts, Shown, Table, Text
from appliance.process import CommandError, Finished
from sentry_runtime.control import ControlError


@dataclass
class Box:
    """A machine whose commands print what the test says."""

    prints: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    refuses: set[str] = field(default_factory=set)
    ran: list[list[str]] = field(default_factory=list)

    def run(self, argv: list[str], *, stdin: str | None = None) -> str:
        self.ran.append(argv)
        if " ".join(argv) in self.refuses or argv[0] in self.refuses:
            raise CommandError(argv, 1, "refused")
        return self.prints.get(" ".join(argv[:2]), "")

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def secret(self, reference: str) -> str:
        raise AssertionError("no topic may ask for a secret")

    def attempt(self, argv: list[str]) -> Finished:
        try:
            return Finished(0, self.run(argv), "")
        except CommandError as error:
            return Finished(error.status, "", error.output)


def pairs(shown: Shown) -> dict[str, str]:
    """Facts by their names; nothing else may have been shown."""
    assert isinstance(shown, Facts)
    return dict(shown.facts)


def rows(shown: Shown) -> tuple[tuple[str, ...], ...]:
    """A table's rows, each as wide as its heading."""
    assert isinstance(shown, Table)
    assert all(len(row) == len(shown.columns) for row in shown.rows)
    return shown.rows


def lines(shown: Shown) -> tuple[str, ...]:
    """A text's lines."""
    assert isinstance(shown, Text)
    return shown.lines


def nobody(_path: str, _request: Any, _type: Any = Any) -> Any:
    """Where the data plane and the other services do not answer."""
    raise ControlError("nobody is there")
