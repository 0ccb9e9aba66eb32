"""What the scanner's unit tests share: the catalogue, recorded answers of a hardened appliance, and a scan of known content."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stig import written
from stig.errors import FactError
from stig.facts import Facts
from stig.recorder import Outcome
from stig.results import Asset, Crypto, Evidence, Scan, count, count_by_category
from stig.rules import Catalogue
from stig.run import Finished
from stig.scan import BASIS, complete
from stig.target import Login, Target

RECORDED = Path(__file__).parent / "recorded"
NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    """The catalogue as it is shipped."""
    return written.load()


@pytest.fixture(scope="session")
def recorded() -> Callable[[str], str]:
    """What one command printed on a hardened appliance."""
    return lambda name: (RECORDED / f"{name}.txt").read_text(encoding="utf-8")


@dataclass(slots=True)
class FakeMachine:
    """A machine that answers from a table, and fails for what the table does not hold."""

    target: Target
    answers: dict[str, Finished] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def look(self, name: str, argv: Sequence[str], *, stdin: str = "") -> Finished:
        """The table's answer for this fact."""
        self.asked.append(tuple(argv))
        if name not in self.answers:
            raise FactError(f"10.0.0.9: SSH failed: no route for {argv[0]}")
        return self.answers[name]

    def cli(self, line: str) -> str:
        """The table's answer for this line."""
        if line not in self.lines:
            raise FactError(f"CLI {line!r}: refused")
        return self.lines[line]


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    """A machine nobody can reach until a test fills its tables."""
    login = Login("someone", tmp_path / "key")
    return FakeMachine(Target("box", "127.0.0.1", login, login, tmp_path / "known_hosts", {"management": "127.0.0.1"}))


@pytest.fixture
def facts(machine: FakeMachine) -> Facts:
    """The facts of that machine."""
    return Facts(machine)


@pytest.fixture(scope="session")
def scanned(catalogue: Catalogue) -> Scan:
    """A scan with every status in it and with texts that XML and HTML trip over."""
    automated = [rule.id for rule in catalogue.rules if rule.not_reviewed is None]
    evidence = Evidence(
        command="cat <x> & 'y'",
        found="\x1b[31mred\x00 ]]> </td><script>alert(1)</script>\r\n\ufffe",
        expected='"plain" & simple',
        met=True,
        nature="configured",
        time="2026-01-02T12:00:00Z",
    )
    outcomes = {rule: Outcome("not_a_finding", evidence=(evidence,), seconds=0.5) for rule in automated}
    broken = Evidence(**{name: getattr(evidence, name) for name in evidence.__struct_fields__} | {"met": False})
    outcomes["V-251006"] = Outcome("open", "kept here", "Read so.", (evidence, broken), 1.0)
    outcomes["V-250995"] = Outcome("error", "unreachable")
    outcomes["V-250999"] = Outcome("not_applicable", "has no clock")
    results = complete(catalogue, outcomes)
    return Scan(
        tool="sentry stig test",
        basis=BASIS,
        asset=Asset(name="box", address="192.0.2.10", fqdn="box.example", mac="52:54:00:12:34:56"),
        crypto=Crypto(module="OpenSSL FIPS Provider, version 3.5.7", validation="module not validated"),
        started="2026-01-02T12:00:00Z",
        finished="2026-01-02T12:00:09Z",
        seconds=9.0,
        counts=count(results),
        by_category=count_by_category(results),
        results=results,
    )
