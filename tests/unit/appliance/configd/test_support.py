"""Support bundles: what is in one, that no secret of the site is, and that a file is fetched once."""

import base64
import io
import random
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from appliance.backup.contents import PLACES
from appliance.config.reference import settings
from appliance.configd import api, gathering
from appliance.configd.client import Refused
from appliance.configd.facts.management import RUNTIME_LOG
from appliance.configd.passwords import hashed
from appliance.configd.sessions import Peer
from appliance.configd.tidying import EVERY_SECONDS, Tidying
from appliance.features import FEATURES
from appliance.features.base import Feature, File
from appliance.features.snmp_users import USERS
from appliance.support.packing import BUNDLE_BYTES, FOLDER, PART_BYTES, packed
from appliance.support.shelf import KEPT_SECONDS
from tests.unit.appliance.cli.desk import SECRET, SITE, accepted, without_effects
from tests.unit.appliance.workbench import ALBERT, ALICE, OLGA, PORTAL, ROOT, Daemon

CANARY = "cAnArY"
SECRETS = {
    "users.accounts.alice.password_hash": hashed(f"{CANARY}-Password-11"),
    "backup.passphrase": f"{CANARY}-backup-passphrase",
    "snmp.users.monitor.auth_passphrase": f"{CANARY}-auth-passphrase",
    "snmp.users.monitor.privacy_passphrase": f"{CANARY}-privacy-passphrase",
}
"""Those that the site is committed with; every other secret setting gets one in the store (`every_secret`)."""
ELSEWHERE = {
    "cookie": f"{CANARY}CookieCookieCookie",
    "token": f"sentry_{CANARY}TokenTokenTokenToken",
    "device's password": f"{CANARY}-device-password",
}
"""Those that no setting holds, as lines of a log may have them."""


def every_secret() -> tuple[str, ...]:
    """The paths of all settings that are secrets."""
    listed = [(path, rules) for feature in FEATURES for path, rules in settings(feature.name, feature.schema)]
    return tuple(path for path, rules in listed if rules.get("meta", {}).get("secret"))


@pytest.fixture
def box(tmp_path: Path) -> Daemon:
    daemon = Daemon(tmp_path, features=(*without_effects()[:-1], _rendering(without_effects()[-1])))
    accounts = {"alice": {"role": "administrator", "password_hash": SECRETS["users.accounts.alice.password_hash"]}}
    for name, role in (("olga", "operator"), ("albert", "auditor")):
        accounts[name] = {"role": role, "password_hash": hashed(f"{CANARY}-Password-{name}")}
    passphrases = {name: SECRETS[f"snmp.users.monitor.{name}"] for name in ("auth_passphrase", "privacy_passphrase")}
    tree = {
        **SITE,
        "users": {"accounts": accounts},
        "cli": {"enable_secret_hash": hashed(SECRET)},
        "backup": {"passphrase": SECRETS["backup.passphrase"]},
        "snmp": {"users": {"monitor": passphrases}},
    }
    daemon.commit(daemon.schema.fill(accepted(daemon, tree)))
    return daemon


def _rendering(feature: Feature) -> Feature:
    """A feature that renders one file for everybody and one for its service alone."""
    files = {"/etc/open.conf": File("port 443\n"), "/etc/closed.conf": File(f"{CANARY}-rendered\n", mode=0o640)}
    return Feature(name=feature.name, label=feature.label, schema=feature.schema, default=feature.default,
                   render=lambda _tree: files)  # fmt: skip


def privileged(daemon: Daemon, uid: int = ALICE) -> tuple[Peer, str]:
    peer, session = daemon.open(uid)
    daemon.say(peer, api.Enable(session=session.handle, secret=SECRET))
    return peer, session.handle


def made(daemon: Daemon) -> api.Download:
    peer, handle = privileged(daemon)
    done: api.Download = daemon.say(peer, api.MakeBundle(session=handle), api.Download)
    return done


def fetched(daemon: Daemon, name: str) -> bytes:
    peer, handle = privileged(daemon)
    data = b""
    while True:
        verb = api.FetchDownload(session=handle, name=name, offset=len(data))
        piece = daemon.say(peer, verb, api.Piece)
        if not piece.content:
            return data
        data += base64.b64decode(piece.content)


def unpacked(file: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(file)) as archive:
        members = [one for one in archive.getmembers() if one.isfile()]
        found = {one.name.removeprefix(f"{FOLDER}/"): archive.extractfile(one) for one in members}
        return {name: file.read().decode() for name, file in found.items() if file is not None}


def refused(call: Callable[[], Any]) -> api.Refusal:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value.refusal


# --- what is in it -----------------------------------------------------------------------------------------------


def test_a_bundle_has_versions_settings_states_logs_and_open_files(box: Daemon) -> None:
    parts = unpacked(fetched(box, made(box).name))
    assert "by alice" in parts["README.txt"]
    assert '"hostname": "gw1.example.test"' in parts["configuration.json"]
    assert '"passphrase": "********"' in parts["configuration.json"]
    assert parts["files/etc/open.conf"] == "port 443\n"
    assert "0640 root:root /etc/closed.conf (not in the bundle)" in parts["files.txt"]
    assert "files/etc/closed.conf" not in parts
    logs = {name for name in parts if name.startswith("logs/")}
    assert {"logs/sentry-gateway.log", "logs/sentry-configd.log", "logs/kernel.log"} <= logs
    assert "facts/devices.txt" not in parts
    assert {"facts/version.txt", "units.txt", "audit/management.log", "audit/gateway.log"} <= set(parts)


def test_a_part_that_cannot_be_had_says_so_in_its_place(box: Daemon) -> None:
    box.commands.failing.add("journalctl")
    parts = unpacked(fetched(box, made(box).name))
    assert "journalctl is told to fail" in parts["logs/sentry-agent.log"]
    assert "configuration.json" in parts


def test_what_takes_too_long_is_left_out_and_said(box: Daemon) -> None:
    real = box.commands.__call__

    class Slow:
        def __call__(self, argv: list[str], *, stdin: str | None = None) -> str:
            box.ticks.now += gathering.GATHERING_SECONDS if argv[0] == "journalctl" else 0.0
            return real(argv, stdin=stdin)

    box.commands = Slow()  # type: ignore[assignment]
    parts = unpacked(fetched(box, made(box).name))
    assert "the time for a bundle was over" in parts["audit/gateway.log"]
    assert "gw1.example.test" in parts["configuration.json"]


# --- canaries ----------------------------------------------------------------------------------------------------


def writings(secret: str) -> Iterator[str]:
    """A secret as somebody may find it: plain, hex, and base64 with whatever stood before it."""
    for line in secret.splitlines():
        if line.startswith("-----"):  # what every key has around it
            continue
        data = line.encode()
        yield line
        yield data.hex()
        yield from (base64.b64encode(b"x" * shift + data).decode()[4 * bool(shift) : -4] for shift in range(3))


def hostile(secrets: dict[str, str]) -> str:
    """A log that has all of them in every writing, and whole headers."""
    lines = [f"{name}: {form}" for name, secret in secrets.items() for form in writings(secret) if len(form) > 3]
    basic = base64.b64encode(f"anna@example.test:{ELSEWHERE[_DEVICE]}".encode()).decode()
    lines += [f"Authorization: Basic {basic}", f"Cookie: __Host-sentry={ELSEWHERE['cookie']}", ELSEWHERE["token"]]
    lines += [f"Authorization: Bearer {ELSEWHERE['token']}", f"https://anna:{ELSEWHERE[_DEVICE]}@mail.example.test/"]
    return "\n".join(lines) + "\n"


_DEVICE = "device's password"


def test_no_secret_of_the_site_is_in_a_bundle_even_if_every_log_were_full_of_them(
    box: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each secret setting of the schema, the appliance's own keys, and what devices and browsers prove themselves with."""
    secrets = dict(SECRETS)
    for number, path in enumerate(every_secret()):
        secrets[path] = f"{CANARY}-{number:02d}-{path[-20:]}"
        box.vault.keep(secrets[path])
    assert len(secrets) > 12
    closed = [place for place in PLACES.values() if place.mode != 0o644 and not place.path.endswith("tokens.json")]
    assert len(closed) > 5
    for number, path in enumerate([*(place.path for place in closed), USERS]):
        body = base64.b64encode(f"{CANARY} key {number} {'k' * 60}".encode()).decode()
        secrets[path] = f"-----BEGIN PRIVATE KEY-----\n{body[:64]}\n{body[64:]}\n-----END PRIVATE KEY-----"
        box.machine.write(path, File(secrets[path] + "\n", mode=0o600))
    log = hostile(secrets)
    assert log.count(CANARY) > 20
    trail = box.root / RUNTIME_LOG.lstrip("/")
    trail.parent.mkdir(parents=True)
    trail.write_text(log)
    monkeypatch.setattr(box.commands, "_journalctl", lambda _argv, _stdin: log)

    parts = unpacked(fetched(box, made(box).name))
    assert len(parts["audit/gateway.log"].splitlines()) >= len(log.splitlines()) / 2
    assert "********" in parts["logs/sentry-gateway.log"]
    everything = "\n".join(f"{name}\n{text}" for name, text in parts.items())
    searched = 0
    for name, secret in {**secrets, **ELSEWHERE}.items():
        for form in writings(secret):
            if len(form) >= 6:
                searched += 1
                assert form not in everything, name
    assert searched > 100
    for shape in (CANARY, CANARY.encode().hex(), base64.b64encode(CANARY.encode()).decode()):
        assert shape not in everything, everything[max(0, everything.find(shape) - 80) :][:160]


def test_the_canaries_would_be_seen(box: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same search finds them where nothing is scrubbed."""
    monkeypatch.setattr("appliance.configd.support.Scrubber.clean", lambda _self, text: text)
    log = hostile(dict(SECRETS))
    monkeypatch.setattr(box.commands, "_journalctl", lambda _argv, _stdin: log)
    assert CANARY in unpacked(fetched(box, made(box).name))["logs/sentry-gateway.log"]


# --- who, how often, how long ------------------------------------------------------------------------------------


def test_only_administrators_make_fetch_and_drop(box: Daemon) -> None:
    name = made(box).name
    for uid in (OLGA, ALBERT):
        peer, handle = privileged(box, uid)
        verbs = (
            api.MakeBundle(session=handle),
            api.FetchDownload(session=handle, name=name),
            api.DropDownload(session=handle, name=name),
        )
        for verb in verbs:
            assert refused(partial(box.say, peer, verb)).kind == "permission"
    assert [one.name for one in box.shelf.all()] == [name]


def test_a_file_is_fetched_once_and_each_step_is_audited(box: Daemon) -> None:
    name = made(box).name
    fetched(box, name)
    peer, handle = privileged(box)
    assert "found no file" in refused(lambda: box.say(peer, api.FetchDownload(session=handle, name=name))).message
    done = [(one.event, one.user, one.path) for one in box.ledger.entries if one.event.startswith(("support", "down"))]
    assert done[0] == ("support.bundle", "alice", "")
    assert done[1] == ("download.fetch", "alice", f"{name} from 0")


def test_two_at_a_time_are_not_made(box: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, free = threading.Event(), threading.Event()

    def waits(_argv: list[str], _stdin: str | None) -> str:
        entered.set()
        assert free.wait(10)
        return ""

    monkeypatch.setattr(box.commands, "_journalctl", waits)
    first = threading.Thread(target=lambda: made(box))
    first.start()
    assert entered.wait(10)
    peer = Peer(uid=PORTAL, pid=1, connection=9)
    login = api.Login(user="alice", password="Alice-Secret-12345", source="192.0.2.9")
    handle = box.say(peer, login, api.Session).handle
    assert refused(lambda: box.say(peer, api.MakeBundle(session=handle))).kind == "conflict"
    free.set()
    first.join(10)
    assert len(box.shelf.all()) == 1


def test_what_nobody_fetches_goes_after_a_day_and_the_trail_says_so(box: Daemon) -> None:
    name = made(box).name
    tidying = Tidying(box.shelf, box.gate, clock=box.ticks)
    tidying.tick()
    assert [one.name for one in box.shelf.all()] == [name]
    box.clock.now += KEPT_SECONDS
    tidying.tick()
    assert len(box.shelf.all()) == 1  # the next look is in a minute
    box.ticks.now += EVERY_SECONDS
    tidying.tick()
    assert box.shelf.all() == ()
    assert [(one.event, one.detail) for one in box.ledger.entries][-1] == ("download.expired", name)


def test_a_bundle_has_a_last_byte() -> None:
    """A part loses its beginning; what still does not fit is named."""
    noise = random.Random(1)  # noqa: S311 - what no compression makes smaller, the same each time
    parts = {f"part{n:02d}": "".join(chr(noise.randrange(33, 126)) for _ in range(PART_BYTES)) for n in range(12)}
    parts["long"] = "a\n" * PART_BYTES + "the end"
    file = packed(parts, 1_800_000_000.0)
    assert len(file) <= BUNDLE_BYTES
    found = unpacked(file)
    assert set(found) == set(parts)
    assert any("left out" in text for text in found.values())
    assert found["long"].startswith("(the beginning was left out)")
    assert found["long"].endswith("the end")
    assert packed({"a": "b"}, 1.0) == packed({"a": "b"}, 1.0)


def test_before_the_first_configuration_there_is_a_bundle_too(tmp_path: Path) -> None:
    """Automation asks: there are no accounts yet."""
    daemon = Daemon(tmp_path, features=without_effects())
    peer, session = daemon.open(ROOT)
    laid = daemon.say(peer, api.MakeBundle(session=session.handle), api.Download)
    parts = unpacked(daemon.shelf.piece(laid.name, 0)[1])
    assert parts["files.txt"] == "nothing is configured yet\n"
    assert "by root" in parts["README.txt"]
