"""What a change of the schema makes of older trees: one pure function for each (see `appliance.config.migrations`)."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

OLD_VERSIONS = {"minimum": "1.2", "maximum": "1.2"}
"""What every backend had before there were profiles, unless it said otherwise."""


def with_tls_profiles(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Version 2: what TLS is spoken stands in one place. A tree that has it there already is given back as it is.

    `gateway.tls` was what is `tls.incoming` now, `portal.tls` is `tls.management`, a vendor's `tls_versions` is `tls.uem`. A
    backend keeps its `tls_versions` where they are not what every backend had.
    """
    made = deepcopy(dict(tree))
    old: dict[str, Any] = {}
    for feature, connection in (("gateway", "incoming"), ("portal", "management")):
        if isinstance(made.get(feature), dict) and "tls" in made[feature]:
            old[connection] = made[feature].pop("tls")
    for vendor in _groups(made.get("uem"), ("epmm", "intune")):
        if "tls_versions" in vendor:
            old["uem"] = vendor.pop("tls_versions")
    backends = made.get("backends")
    servers = backends.get("servers") if isinstance(backends, dict) else None
    for server in _groups(servers, tuple(servers) if isinstance(servers, dict) else ()):
        if server.get("tls_versions") == OLD_VERSIONS:
            del server["tls_versions"]
    if old:
        made["tls"] = {**old, **made.get("tls", {})}
    return made


def _groups(held: Any, names: Iterable[str]) -> list[dict[str, Any]]:
    if not isinstance(held, dict):
        return []
    return [held[name] for name in names if isinstance(held.get(name), dict)]
