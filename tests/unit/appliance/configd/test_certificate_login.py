"""Log-in by certificate inside configd: what openssl's words become, how tickets end, who may not lock themselves out."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance import process
from appliance.config.schema import Schema
from appliance.configd import facts, lockout, sessions
from appliance.configd.api import Facts
from appliance.configd.examining import asker, examiner
from appliance.configd.sessions import Peer
from appliance.configd.tickets import SECONDS, TICKETS, Tickets
from appliance.process import CommandError, Finished
from sentry_runtime import control
from tests.device_pki import DevicePki
from tests.unit.appliance.workbench import ACCOUNTS, Clock, Daemon

STRICT = True
MODE = ["portal.certificate_login.mode"]

# --- openssl -----------------------------------------------------------------------------------------------------


def saying(errors: str, status: int = 2) -> Callable[..., Finished]:
    """An openssl that ends like this."""

    def end(_argv: list[str], *, stdin: str | None = None) -> Finished:
        assert stdin is not None  # the certificate
        return Finished(status, "", errors)

    return end


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ("C = US\nerror 23 at 0 depth lookup: certificate revoked\nerror -: verification failed\n", "has been revoked"),
        (
            "error 23 at 1 depth lookup: certificate revoked\n",
            "leads to an authority whose certificate has been revoked",
        ),
        ("error 10 at 0 depth lookup: certificate has expired\n", "has ended"),
        ("error 12 at 1 depth lookup: CRL has expired\n", "cannot be looked up: the revocation list of its authority"),
        ("error 3 at 0 depth lookup: unable to get certificate CRL\n", "there is no revocation list of its authority"),
        ("error 20 at 0 depth lookup: unable to get local issuer certificate\n", "is of no authority"),
        ("error 26 at 0 depth lookup: unsuitable certificate purpose\n", "is not for logging in"),
        ("error 79 at 0 depth lookup: something new\n", "is not good (something new)"),
        ("Could not open file or uri for loading certificate file\n", "could not be examined"),
        ("", "could not be examined"),
    ],
)
def test_whatever_openssl_says_beside_yes_is_a_reason_to_refuse(errors: str, words: str) -> None:
    assert words in examiner(saying(errors))("", STRICT)


def test_an_openssl_that_does_not_run_lets_nobody_in() -> None:
    def none(argv: list[str], *, stdin: str | None = None) -> Finished:
        raise CommandError(argv, 127, f"no such program, {len(stdin or '')} characters unread")

    assert "could not be examined" in examiner(none)("", STRICT)


def test_without_the_files_it_refuses(tmp_path: Path) -> None:
    """As between two commits, or where somebody has removed them."""
    pki = DevicePki(tmp_path)
    pki.authority("Root")
    pki.issue("card", by="Root")
    pem = Path(pki.path("card")).read_text()
    for strict in (True, False):
        look = examiner(process.attempt, authorities=f"{tmp_path}/none.pem", lists=f"{tmp_path}/none.crl")
        assert look(pem, strict)


ASKED: dict[str, Any] = {"until": 0.0}


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (control.CertificateStatus(standing="good", passes=True, **ASKED), ""),
        (control.CertificateStatus(standing="revoked", passes=False, **ASKED), "has been revoked"),
        (control.CertificateStatus(standing="unknown", passes=False, **ASKED), "nothing proves"),
        (control.CertificateStatus(standing="stale", passes=True, **ASKED), "nothing proves"),
        (control.ControlError("nobody is there"), "the agent does not answer"),
    ],
)
def test_only_the_agents_proof_lets_a_card_pass(tmp_path: Path, status: Any, words: str) -> None:
    pki = DevicePki(tmp_path)
    pki.authority("Root")
    pki.issue("card", by="Root")
    asked: list[tuple[str, Any]] = []

    def call(socket: str, request: Any, _type: Any) -> Any:
        asked.append((socket, request))
        if isinstance(status, Exception):
            raise status
        return status

    said = asker(call, "agent.sock")(Path(pki.path("card")).read_text())
    assert (words in said, bool(said)) == (True, bool(words))
    assert asked == [("agent.sock", control.CheckAdministrator(certificate=pki.der("card")))]


# --- tickets -----------------------------------------------------------------------------------------------------


def test_a_ticket_ends_with_its_time_and_the_oldest_make_room() -> None:
    clock = Clock(0.0)
    tickets = Tickets(clock=clock)
    first = tickets.give(b"card", "192.0.2.7")
    clock.now = SECONDS - 1
    second = tickets.give(b"card", "192.0.2.7")
    clock.now = SECONDS
    assert tickets.take(first) is None
    shown = tickets.take(second)
    assert shown is not None
    assert (shown.certificate, shown.source) == (b"card", "192.0.2.7")
    assert tickets.take(second) is None
    many = [tickets.give(b"card", "192.0.2.7") for _ in range(TICKETS + 1)]
    assert (tickets.take(many[0]), tickets.take(many[1]) is None) == (None, False)
    assert len(set(many)) == len(many)
    assert {len(one) for one in many} == {64}


# --- people ------------------------------------------------------------------------------------------------------


def tree(mode: str, **alice: Any) -> dict[str, Any]:
    """A configuration in which alice is an administrator with a key, and what else she has."""
    return {
        "users": {"accounts": {"alice": {"role": "administrator", "ssh_keys": ["one"], **alice}}},
        "ssh": {"password_authentication": True},
        "portal": {"certificate_login": {"mode": mode, "mapping": ["edipi"]}},
    }


WITH_PASSWORD: dict[str, Any] = {"password_hash": "secret:1"}
WITH_BOTH: dict[str, Any] = {**WITH_PASSWORD, "edipi": "1111111111"}


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        (tree("off", **WITH_PASSWORD), tree("required", **WITH_PASSWORD), MODE),
        (tree("optional", **WITH_BOTH), tree("required", **WITH_PASSWORD), MODE),
        (tree("off", **WITH_PASSWORD), tree("required", **WITH_PASSWORD, certificate="alice@lab.test"), MODE),
        (tree("off", **WITH_PASSWORD), tree("required", **WITH_BOTH), []),
        (tree("off", **WITH_PASSWORD), tree("optional", **WITH_PASSWORD), []),
        (tree("off"), tree("required"), []),
        (tree("required"), tree("required"), []),
    ],
)
def test_who_would_lose_the_portal_by_certificates_only_needs_a_time_limit(
    before: dict[str, Any], after: dict[str, Any], paths: list[str]
) -> None:
    bounds = sessions.Bounds(600, 900, 5)
    held = sessions.Sessions().open("alice", "administrator", "cli", Peer(1, 1, 1), source="192.0.2.7", bounds=bounds)
    assert [problem.path for problem in lockout.guard(held)(Schema(()), before, after)] == paths


def test_the_topic_shows_how_it_is_set_up_and_no_certificate(tmp_path: Path) -> None:
    pki = DevicePki(tmp_path / "pki")
    pki.folder.mkdir()
    pki.authority("Root")
    pki.crl("Root", dates=("260101000000Z", "270102030405Z"))
    held = {
        "mode": "required",
        "mapping": ["edipi", "upn"],
        "authorities": Path(pki.path("Root")).read_text(),
        "revocation": {"check": "strict", "crls": (pki.folder / "Root.crl.pem").read_text()},
    }
    daemon = Daemon(tmp_path / "box")
    accounts = {**ACCOUNTS, "alice": {**ACCOUNTS["alice"], "edipi": "1111111111"}}
    daemon.commit({"name": "box", "users": {"accounts": accounts}})
    context = daemon.context()
    assert context.running is not None
    whole = {**context.running.tree, "portal": {"certificate_login": held}}
    context = replace(context, running=msgspec.structs.replace(context.running, tree=whole))
    shown = facts.show("certificate-login", "", context)
    assert isinstance(shown, Facts)
    assert dict(shown.facts) == {
        "mode": "required",
        "mapping": "edipi, upn",
        "authorities": "CN=Root",
        "revocation": "strict",
        "lists hold until": "2027-01-02T03:04:05Z",
        "accounts": "3",
        "accounts without an EDIPI": "2",
    }
    assert "BEGIN" not in str(shown)
