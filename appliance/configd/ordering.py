"""An order at an ACME server: a key and a request, which lie where `appliance.configd.acme` finds them by its clock."""

from collections.abc import Iterable

from appliance import chains, keyring, obtained, pki, served
from appliance.features.base import System, Tree


def order(tree: Tree, service: str, system: System, trees: Iterable[Tree]) -> str:
    """Make a key and a request for an ACME server, which from now on is asked; returns the request. Keys that nothing among
    `trees` needs are forgotten, the oldest first. Raises `CommandError`."""
    kind = str(served.settings(tree, service).get("key_type", "p256"))
    made = keyring.make_order(service, kind, pki.requested_names(tree, service), system)
    keep = keyring.needed([*trees, tree], tuple(served.SERVICES), system)
    held = (obtained.taken(one, system) for one in served.SERVICES)
    keyring.forget(keep | {chains.key_name(chain[0].public_key()) for chain in held if chain}, system)
    return made
