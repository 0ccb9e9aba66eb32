"""Copies elsewhere as configd has them: the newest backup is offered to the service that sends, and what came of it is told."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.configd import api, facts, roles
from appliance.configd.client import Refused
from appliance.configd.health import _not_sent
from appliance.configd.offsite import EVERY_SECONDS, TELL_SECONDS, Offsite
from appliance.offsite import api as offsite_api
from appliance.offsite.api import Report, Standing
from sentry_runtime import control
from tests.unit.appliance.configd.test_backups import Configd
from tests.unit.appliance.configd.test_keeper import ON_CHANGE, Kept

NOON = 1_800_000_000.0
KEY = (Path(__file__).parents[1] / "features/material/ecdsa.pub").read_text().strip()
SFTP = {"vault": {"host": "vault.example.test", "user": "gw1", "host_keys": [KEY]}}
SITE: dict[str, Any] = {**ON_CHANGE, "backup": {**ON_CHANGE["backup"], "sftp": SFTP}}


class Peer:
    """The service, which says what the test wants; what does not fit its type is no answer."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.holding = ""
        self.says: Any = Standing()
        self.others: dict[str, Standing] = {}
        self.away = False

    def call(self, path: str, request: Any, kind: Any = Any, **_rest: Any) -> Any:
        assert path == offsite_api.SOCKET
        if self.away:
            raise control.ControlError(f"{path}: Connection refused")
        self.asked.append(request)
        if not isinstance(request, offsite_api.Status):
            self.holding = request.name
        said = Report(holding=self.holding, public_key=f"{KEY}\x1b", destinations={"vault": self.says, **self.others})
        return msgspec.json.decode(msgspec.json.encode(said), type=kind)

    @property
    def offered(self) -> list[str]:
        return [one.name for one in self.asked if isinstance(one, offsite_api.Offer)]


class Linked(Configd):
    """configd with that service at its socket."""

    service: Peer | None = None

    def _call(self, path: str, request: Any, result_type: Any = Any, **rest: Any) -> Any:
        if path == offsite_api.SOCKET and self.service is not None:
            return self.service.call(path, request, result_type, **rest)
        return super()._call(path, request, result_type, **rest)


class Copied(Kept):
    """An appliance that keeps backups and has them sent."""

    kind = Linked

    def __init__(self, folder: Path, site: dict[str, Any]) -> None:
        super().__init__(folder, site)
        self.service = Peer()
        box = self.daemon
        assert isinstance(box, Linked)
        box.service = self.service
        self.offsite = Offsite(box.engine, box.gate, box.backups, call=self.service.call, clock=box.ticks)

    def look(self, seconds: float = EVERY_SECONDS) -> list[tuple[str, str]]:
        """What the audit trail was told, after so long."""
        box = self.daemon
        box.ticks.now += seconds
        before = len(box.ledger.entries)
        self.offsite.tick()
        return [(one.result, one.detail) for one in box.ledger.entries[before:] if one.event == "backup.sent"]


@pytest.fixture
def box(tmp_path: Path) -> Copied:
    return Copied(tmp_path / "box", SITE)


def newest(box: Copied) -> str:
    return box.daemon.backups.all()[0].name


def test_the_newest_is_offered_once_and_the_next_when_it_is_there(box: Copied) -> None:
    assert box.look() == []
    assert box.service.asked == []
    box.later()
    box.look()
    assert box.service.offered == [newest(box)]
    (offer,) = [one for one in box.service.asked if isinstance(one, offsite_api.Offer)]
    assert offer.file == box.daemon.backups.read(newest(box))
    assert offer.file.startswith(b"SENTRY-BACKUP")
    box.look()
    assert len(box.service.offered) == 1
    box.change("two")
    box.later()
    box.look()
    assert box.service.offered[1:] == [newest(box)]
    box.service.holding = ""  # it was started anew
    box.look()
    assert box.service.offered[2:] == [newest(box)]


def test_what_was_sent_and_what_failed_is_told_once(box: Copied) -> None:
    box.later()
    box.look()
    box.service.says = Standing(tries=1, tried=NOON, problem="Connection refused\x1b")
    assert box.look(TELL_SECONDS) == [("failed", "not sent to vault: Connection refused?")]
    assert box.look(TELL_SECONDS) == []
    box.service.says = Standing(tries=2, tried=NOON + 60, problem="Connection refused")
    assert len(box.look(TELL_SECONDS)) == 1
    name = newest(box)
    box.service.says = Standing(sent=name, sent_at=NOON + 120, tries=3, tried=NOON + 120)
    assert box.look(TELL_SECONDS) == [("ok", f"{name} to vault")]
    assert box.look(TELL_SECONDS) == []


def test_a_service_gone_wild_does_not_fill_the_audit_trail(box: Copied) -> None:
    box.later()
    told = 0
    for number in range(20):
        box.service.says = Standing(tries=1, tried=NOON + number, problem=f"lie {number}")
        told += len(box.look(EVERY_SECONDS))
    assert 0 < told <= 20 * EVERY_SECONDS / TELL_SECONDS + 1
    box.service.others = {f"made-up-{number}": Standing(tried=NOON, problem="lie") for number in range(1_000)}
    assert box.look(TELL_SECONDS) == [("failed", "not sent to vault: lie 19")]
    assert box.look(TELL_SECONDS) == []
    assert set(_not_sent(box.daemon.context()) or ()) == {"vault"}


def test_a_service_that_is_away_keeps_configd_from_nothing(box: Copied) -> None:
    box.later()
    box.service.away = True
    assert box.look() == []
    assert _not_sent(box.daemon.context()) is None
    with pytest.raises(Refused) as refused:
        box.say(api.SendBackup, api.Facts)
    assert refused.value.refusal.kind == "unavailable"


def test_where_nothing_is_sent_nobody_is_asked(tmp_path: Path) -> None:
    box = Copied(tmp_path / "box", ON_CHANGE)
    box.later()
    box.look()
    assert box.service.asked == []
    assert _not_sent(box.daemon.context()) == {}
    with pytest.raises(Refused, match="found no place to send it to"):
        box.say(api.SendBackup, api.Facts)
    shown = facts.show("backup-key", "", box.daemon.context())
    assert isinstance(shown, api.Text)
    assert shown.lines[0].startswith("none yet")


def test_a_person_has_one_sent_and_is_told_what_came_of_it(box: Copied) -> None:
    with pytest.raises(Refused, match="found no backup that lies here"):
        box.say(api.SendBackup, api.Facts)
    box.later()
    box.change("two")
    box.later()
    older = box.daemon.backups.all()[1].name
    box.service.says = Standing(sent=older, sent_at=NOON, tries=1, tried=NOON)
    said = box.say(api.SendBackup, api.Facts, name=older)
    assert (said.title, said.facts) == (older, (("vault", "sent"),))
    box.service.says = Standing(sent=older, sent_at=NOON, tries=2, tried=NOON, problem="Permission denied (publickey).")
    said = box.say(api.SendBackup, api.Facts)
    assert (said.title, said.facts) == (newest(box), (("vault", "NOT SENT: Permission denied (publickey)."),))
    with pytest.raises(Refused, match="found no backup"):
        box.say(api.SendBackup, api.Facts, name="../secrets/key")
    entries = [(one.path, one.result) for one in box.daemon.ledger.entries if one.event == "backup.send"]
    assert entries[-3:] == [(older, "ok"), ("", "ok"), ("../secrets/key", "invalid")]


def test_what_is_shown_says_where_it_lies_and_what_is_wrong(box: Copied) -> None:
    box.later()
    name = newest(box)
    box.service.says = Standing(sent=name, sent_at=NOON, tries=2, tried=NOON, next_try=NOON + 300, problem="refused")
    shown = facts.show("backup-destinations", "", box.daemon.context())
    assert isinstance(shown, api.Table)
    ((where, kind, has, since, state),) = shown.rows
    assert (where, kind, has, since) == ("vault", "sftp", name, "2027-01-15T08:00:00Z")
    assert state == "FAILED 2 times, last at 2027-01-15T08:00:00Z: refused; next at 2027-01-15T08:05:00Z"
    assert _not_sent(box.daemon.context()) == {"vault": "refused"}
    key = facts.show("backup-key", "", box.daemon.context())
    assert isinstance(key, api.Text)
    assert key.lines == (f"{KEY}?",)


@pytest.mark.parametrize("setting", [("backup", "passphrase"), ("backup", "sftp"), ("backup", "s3", "attic", "bucket")])
def test_where_backups_go_and_what_seals_them_is_as_risky_as_a_backup(setting: api.Path) -> None:
    """Else whoever holds the portal has one sent elsewhere, under a passphrase of their own."""
    about = next(name for name, paths in roles.ABOUT.items() if any(setting[: len(path)] == path for path in paths))
    at_portal = roles.Standing(role="administrator", manner="portal")
    at_cli = roles.Standing(role="administrator", manner="cli", privileged=True, privileged_seconds=301.0)
    with_token = roles.Standing(
        role="administrator", manner="rest", scopes=frozenset({"configure"}), privileged_seconds=1e9
    )
    for standing in (at_portal, at_cli, with_token):
        for verb in (api.Commit, api.Rollback):
            refusal = roles.refusal(verb, standing, about=about)
            assert refusal is not None
            assert refusal.kind == "privilege"
