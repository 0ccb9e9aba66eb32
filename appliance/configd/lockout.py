"""What a person must not do to themselves: a commit after which their own session could not be opened again.

It is a guard rail, not a boundary: where a session comes from is what its client says. With a time limit (`commit confirmed`)
everything is allowed, because the way back is sure.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from appliance.apply import Guard, no_step_back
from appliance.config.schema import Schema
from appliance.configd import accounts
from appliance.configd.sessions import Held
from appliance.features import acl, certificate_login, ssh
from appliance.features.base import Problem, Tree
from appliance.plan import SelfLockout

CONFIRM = "with a time limit to confirm it (commit confirmed)"


def guard(held: Held) -> Guard:
    """The guard for what `held` commits without a time limit: the features' rules, and that it may come back."""

    def check(schema: Schema, before: Tree, after: Tree) -> Iterable[Problem]:
        yield from no_step_back(schema, before, after)
        if held.manner != "automation":
            yield from _source(held.source, before, after)
            yield from _way_here(held.source, before, after)
            yield from _account(held, before, after)
            yield from _portal(held, before, after)

    return check


def _source(source: str, before: Tree, after: Tree) -> Iterator[Problem]:
    """An address that may manage now may do so afterwards. A terminal has no address, and nothing to lose."""
    if _admits(before, source) and not _admits(after, source):
        yield SelfLockout(
            "firewall.management_networks",
            f"no network with {source}, from where you are connected",
            f"networks with that address, or this change {CONFIRM}",
        )
    elif _admits(after, source):
        yield from _listed(source, before, after)


def _listed(source: str, before: Tree, after: Tree) -> Iterator[Problem]:
    """Nor is it kept out by a list that did not keep it out before."""
    if "acl" not in after or ("acl" in before and _kept_out(before, source) is not None):
        return
    entry = _kept_out(after, source)
    if entry is not None:
        found = f"an entry ({entry.name}) that keeps out {source}, from where you are connected"
        yield Problem("acl", found, f"lists that let you in, or this change {CONFIRM}")


def _kept_out(tree: Tree, source: str) -> acl.Entry | None:
    return acl.judge(tree, source, "tcp", ssh.PORT, "management")


def _way_here(source: str, before: Tree, after: Tree) -> Iterator[Problem]:
    """Who came over the network came to one of these addresses; which of them is not known here."""
    if not _is_address(source):
        return
    for name, held in _managing(before).items():
        now = _managing(after).get(name, {})
        gone = [one for one in held.get("addresses", ()) if one not in now.get("addresses", ())]
        if gone:
            found = f"no longer {', '.join(gone)}, by which you may be connected"
            yield SelfLockout(
                f"interfaces.{name}", found, f"that address in the management zone, or this change {CONFIRM}"
            )
        elif held.get("gateway") != now.get("gateway") and not _on_link(source, now):
            found = f"another gateway, by which the answers to {source} may go"
            yield SelfLockout(f"interfaces.{name}.gateway", found, f"the one before, or this change {CONFIRM}")


def _managing(tree: Tree) -> dict[str, Any]:
    """The interfaces with the management zone, by name."""
    return {name: one for name, one in tree.get("interfaces", {}).items() if "management" in one.get("zones", ())}


def _on_link(source: str, interface: Mapping[str, Any]) -> bool:
    address = ipaddress.ip_address(source)
    return any(address in ipaddress.ip_interface(one).network for one in interface.get("addresses", ()))


def _is_address(source: str) -> bool:
    try:
        ipaddress.ip_address(source)
    except ValueError:
        return False
    return True


def _admits(tree: Tree, source: str) -> bool:
    networks = tree.get("firewall", {}).get("management_networks", ())
    if not _is_address(source):
        return False
    address = ipaddress.ip_address(source)
    return any(address in ipaddress.ip_network(network) for network in networks)


def _account(held: Held, before: Tree, after: Tree) -> Iterator[Problem]:
    if held.manner == "rest":
        yield from _maker(held, after)
        return
    if held.directory:
        yield from _directory(held, after)
        return
    path = f"users.accounts.{held.user}"
    if accounts.roles(after).get(held.user) != held.role:
        yield SelfLockout(
            path, "your own account gone or with another role", f"somebody else's, or this change {CONFIRM}"
        )
        return
    ways = _ways(before, held.user)
    if ways and not ways & _ways(after, held.user):
        found = "no way in that you have now (your keys, or passwords over SSH)"
        yield SelfLockout(path, found, f"one of them, or this change {CONFIRM}")


def _directory(held: Held, after: Tree) -> Iterator[Problem]:
    """Whether other settings find a person of the directory is known when they are used."""
    allowed = f"those you came by, a commit by an account of this appliance, or this change {CONFIRM}"
    if not held.credentials <= accounts.directory(after).credentials:
        yield SelfLockout("directory", "other settings than those by which you logged in", allowed)
    if accounts.certificate_login(after).mode == "required":
        yield SelfLockout("portal.certificate_login.mode", "required, which takes no passwords", allowed)
    if held.user in accounts.roles(after):
        yield SelfLockout(f"users.accounts.{held.user}", "an account of your own name, which is not you", allowed)


def _portal(held: Held, before: Tree, after: Tree) -> Iterator[Problem]:
    """Where the portal begins to take certificates only, whoever has it so must have one."""
    required = accounts.certificate_login(after).mode == "required"
    if required and _enters_portal(before, held.user) and not _enters_portal(after, held.user):
        found = "required, and no certificate that names you"
        allowed = f"an edipi or certificate of your account, or this change {CONFIRM}"
        yield SelfLockout("portal.certificate_login.mode", found, allowed)


def _enters_portal(tree: Tree, user: str) -> bool:
    """Whether `user` has a way into the portal: a password where those are taken, or a certificate that names the account."""
    account: Any = tree.get("users", {}).get("accounts", {}).get(user, {})
    mode = accounts.certificate_login(tree).mode
    by_password = mode != "required" and bool(account.get("password_hash"))
    return by_password or (mode != "off" and certificate_login.is_named(tree, user))


def _maker(held: Held, after: Tree) -> Iterator[Problem]:
    """A token ends with the account that made it."""
    if held.maker and accounts.roles(after).get(held.maker) != "administrator":
        found = f"{held.maker} gone or no administrator any more, who made the token of this request"
        yield SelfLockout(f"users.accounts.{held.maker}", found, f"that account, or this change {CONFIRM}")


def _ways(tree: Tree, user: str) -> frozenset[str]:
    """How `user` may log in over SSH. That a password is another one is no loss: whoever set it knows it."""
    account: Any = tree.get("users", {}).get("accounts", {}).get(user, {})
    by_password = account.get("password_hash") and tree.get("ssh", {}).get("password_authentication", True)
    return frozenset((*account.get("ssh_keys", ()), *(("password",) if by_password else ())))
