"""A site with an administrator, an operator and an auditor, and how they come to configd."""

from collections.abc import Callable
from typing import Any

import pytest

from appliance.configd import api, passwords
from appliance.configd.client import Refused
from appliance.configd.sessions import Peer
from tests.unit.appliance.workbench import ACCOUNTS, ALICE, PASSWORDS, PORTAL, Daemon

ENABLE = "Enable-Secret-12345"
TREE: dict[str, Any] = {
    "name": "box",
    "users": {"accounts": ACCOUNTS},
    "cli": {"idle_minutes": 10, "enable_secret_hash": passwords.hashed(ENABLE)},
    "ssh": {"max_sessions": 3},
}


def refusal(call: Callable[..., object], *arguments: object) -> api.Refusal:
    """Why configd refused that; it must have."""
    with pytest.raises(Refused) as refused:
        call(*arguments)
    return refused.value.refusal


def privileged(daemon: Daemon, uid: int = ALICE, connection: int = 1) -> tuple[Peer, str]:
    """A session at the command line after `enable`: the peer and the handle."""
    peer, session = daemon.open(uid, connection)
    daemon.say(peer, api.Enable(session=session.handle, secret=ENABLE))
    return peer, session.handle


def portal_session(daemon: Daemon, user: str = "alice") -> tuple[Peer, str]:
    """A session at the portal, just logged in: the peer and the handle."""
    portal = Peer(PORTAL, 1, 1)
    login = api.Login(user=user, password=PASSWORDS[user], source="192.0.2.9")
    return portal, daemon.say(portal, login, api.Session).handle
