"""Whether devices that must be kept out are let in all the same."""

import msgspec
import pytest

from stig.errors import FactError
from stig.facts import Facts
from stig.judge import gatekeeping as judge
from stig.recorder import NotReviewed, Prove


class _Sheet(msgspec.Struct, frozen=True):
    facts: dict[str, str]


class _Table(msgspec.Struct, frozen=True):
    rows: tuple[dict[str, str], ...]


class _UemServer(msgspec.Struct, frozen=True):
    auto_block_unregistered: bool
    unregistered_grace_seconds: int = 0


class _Runtime(msgspec.Struct, frozen=True):
    uem_server: _UemServer | None = None


def _softening(facts: Facts) -> judge.Softening:
    """What the running gateway says of itself, and the rules that are in force."""
    told = facts.cli_data("show gateway", _Sheet).facts
    if "observing_until" not in told:
        raise FactError(f"CLI 'show gateway': {told.get(judge.NO_ANSWER, 'does not say whether it observes')}")
    rows = facts.cli_data("show sentry rules", _Table).rows
    allowing = tuple(row["name"] for row in rows if row["action"] == "allow" and row["state"] == "in force")
    return judge.Softening(told["observing_until"], allowing)


@pytest.mark.stig("V-251008")
def test_unregistered_devices_are_not_let_in(facts: Facts, prove: Prove) -> None:
    """Not by observing, not by a rule, not by the UEM in the box."""
    server = facts.struct("runtime", _Runtime).uem_server
    auto_block = None if server is None else server.auto_block_unregistered
    grace = 0 if server is None else server.unregistered_grace_seconds
    verdict = judge.unregistered(judge.Registration(_softening(facts), auto_block, grace))
    if verdict.status == "open":
        prove(verdict)
    raise NotReviewed(
        "Nothing lets unregistered devices pass. That they are refused, and those with a revoked certificate too, can be proven "
        "at the gateway by behaviour; this version has no such probe. The policies in the UEM are not looked at."
    )


@pytest.mark.stig("V-251010")
def test_compromised_devices_are_not_let_in(facts: Facts, prove: Prove) -> None:
    """Not by observing, and not by a rule."""
    verdict = judge.compromised(_softening(facts))
    if verdict.status == "open":
        prove(verdict)
    raise NotReviewed(
        "Nothing lets compromised devices pass. That a device reported as compromised is refused can be proven at the gateway by "
        "behaviour; this version has no such probe. The action in the UEM's security policy is not looked at."
    )
