"""Whoever takes over the portal of the running appliance: with its account, its group and a session just opened."""

import json

import pytest

from tests.lab import Lab

pytestmark = pytest.mark.appliance

# As the portal's account, at the real socket: each word with what came of it.
INTRUDER = r"""
import json, os, socket
user, password = PERSON
def ask(**verb):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(60)
        peer.connect("/run/sentry-configd/configd.sock")
        peer.sendall(json.dumps(verb).encode() + b"\n")
        with peer.makefile("rb") as answers:
            return json.loads(answers.readline())
said = {}
def tried(name, answer):
    said[name] = (answer.get("refusal") or {}).get("kind", "ok")
    return answer
tried("own session", ask(verb="session.open"))
session = tried("log in", ask(verb="session.login", user=user, password=password, source="192.0.2.9"))["result"]["handle"]
tried("ticket", ask(verb="certificate.present", certificate="AAAA", source="192.0.2.9"))
tried("made up", ask(verb="session.login_certificate", ticket="0" * 64))
tried("look", ask(verb="state.show", session=session, topic="version"))
tried("log", ask(verb="state.show", session=session, topic="log"))
tried("enable", ask(verb="session.enable", session=session, secret=password))
tried("read", ask(verb="config.get", session=session))
tried("replace", ask(verb="config.replace", session=session, tree={}))
tried("clock", ask(verb="system.clock", session=session, time="2026-01-31T18:00:00Z"))
tried("set an account", ask(verb="config.set", session=session, path=["users", "accounts", user, "full_name"], value="x"))
tried("commit an account", ask(verb="config.commit", session=session))
tried("commit an account for a time", ask(verb="config.commit", session=session, confirm_minutes=1))
tried("discard", ask(verb="config.discard", session=session))
tried("set the networks", ask(verb="config.set", session=session, path=["firewall", "management_networks"], value=["0.0.0.0/0"]))
tried("commit the networks", ask(verb="config.commit", session=session, confirm_minutes=1))
tried("discard again", ask(verb="config.discard", session=session))
tried("password", ask(verb="user.password", session=session, user=user, password="Taken-Over-123456"))
tried("enable secret", ask(verb="user.enable_secret", session=session, secret="Taken-Over-123456"))
tried("renew", ask(verb="certificate.renew", session=session, service="portal"))
tried("make a token", ask(verb="token.create", session=session, name="intruder", role="administrator"))
tried("list tokens", ask(verb="token.list", session=session))
tried("stop", ask(verb="service.control", session=session, service="gateway", action="stop"))
tried("power", ask(verb="system.power", session=session, action="poweroff"))
tried("wipe", ask(verb="device.action", session=session, action="wipe", device_id="A", principal="a@b"))
tried("guess the password", ask(verb="session.reauthenticate", session=session, password="Taken-Over-123456"))
tried("power after that", ask(verb="system.power", session=session, action="poweroff"))
tried("guess a handle", ask(verb="config.get", session="0" * 64))
tried("close", ask(verb="session.close", session=session))
tried("after that", ask(verb="state.show", session=session, topic="version"))
for path in ("/var/lib/sentry/secrets", "/var/lib/sentry/config/running.json", "/etc/shadow", "/etc/sentry/runtime.json",
             "/var/lib/sentry/tls/gateway/key.pem", "/var/lib/sentry/tls/portal/key.pem", "/etc/sentry/tls-proxy.json",
             "/var/lib/sentry/tokens", "/run/sentry-tally", "/var/log/auth.log"):
    try:
        os.listdir(path) if os.path.isdir(path) else open(path).close()
        said[path] = "ok"
    except PermissionError:
        said[path] = "permission"
for path in ("/run/sentry-agent/agent.sock", "/run/sentry-gateway/control.sock", "/run/sentry-uem/admin.sock"):
    with socket.socket(socket.AF_UNIX) as peer:
        try:
            peer.connect(path)
            said[path] = "ok"
        except PermissionError:
            said[path] = "permission"
print(json.dumps(said))
"""
OK = {
    "log in",
    "look",
    "log",
    "read",
    "list tokens",
    "set an account",
    "set the networks",
    "discard",
    "discard again",
    "close",
}
"""A candidate is nobody's but the session's; what runs does not change."""
GONE = {"guess a handle", "after that"}
WITHOUT_PASSWORD = {
    "commit an account", "commit an account for a time", "commit the networks", "password", "enable secret", "renew", "power",
    "wipe", "power after that", "stop", "make a token",
}  # fmt: skip
WRONG = {"guess the password", "made up"}  # the second is a ticket that the TLS proxy never got


def test_it_gets_no_further_than_the_session_without_its_password(lab: Lab) -> None:
    before = lab.root("/usr/lib/sentry/bin/sentry-configctl", "get").stdout
    script = INTRUDER.replace("PERSON", repr((lab.admin.user, lab.admin.password)))  # on no line that sudo writes down
    groups = lab.root(
        "systemctl", "show", "--property=SupplementaryGroups", "--value", "sentry-portal.service"
    ).stdout.strip()
    become = ["setpriv", "--reuid", "sentry-portal", "--regid", "sentry-portal", "--groups", groups, "--"]
    done = lab.root(*become, "python3", "-I", "-", stdin=script)
    said = json.loads(done.stdout)
    assert {name for name, answer in said.items() if answer == "ok"} == OK
    assert {name for name, answer in said.items() if answer == "session"} == GONE
    assert {name for name, answer in said.items() if answer == "privilege"} == WITHOUT_PASSWORD
    assert {name for name, answer in said.items() if answer == "authentication"} == WRONG
    refused = set(said) - OK - GONE - WITHOUT_PASSWORD - WRONG
    assert {name for name, answer in said.items() if answer == "permission"} == refused
    assert {"own session", "enable", "replace", "clock"} <= refused
    assert lab.root("/usr/lib/sentry/bin/sentry-configctl", "get").stdout == before


def test_what_it_tried_is_audited_with_the_session_s_name_and_without_the_secrets(lab: Lab) -> None:
    trail = lab.root("tail", "-n", "200", "/var/log/auth.log").stdout
    assert '"event":"system.power"' in trail
    assert "Taken-Over-123456" not in trail
    assert lab.admin.password not in trail
