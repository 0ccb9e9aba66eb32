"""How users' names are read, so that one mailbox is one user in whatever form a phone writes the name.

`gateway` renders what is set here into the data plane's one settings file.
"""

import re
from collections.abc import Iterable
from typing import Any

from appliance.features import values
from appliance.features.base import Feature, Problem, Tree
from sentry_runtime.settings import Principals

DOMAINS = 256
SHORT = "a NetBIOS domain of 1 to 15 letters, digits, -, _ and &, such as CORP"
DNS = "a DNS domain such as corp.example"

_SHORT = re.compile(r"[A-Za-z0-9_&-]{1,15}")


def _is_dns(text: str) -> bool:
    return "." in text and values.is_dns_name(text)


def _lower(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


DNS_KIND = {"type": "string", "coerce": _lower, "check_with": values.check(_is_dns, DNS), "meta": {"allowed": DNS}}


def verify(tree: Tree) -> Iterable[Problem]:
    """No domain is named twice: two people of one name would become one."""
    shorts: set[str] = set()
    longs: dict[str, str] = {}
    for short, long in sorted(tree["principals"]["domains"].items()):
        path = f"principals.domains.{short}"
        if short.lower() in shorts:
            yield Problem(path, "the same domain a second time", "every domain once, in either case")
        elif long in longs:
            yield Problem(path, f"{long}, which is {longs[long]} already", "a DNS domain of its own")
        shorts.add(short.lower())
        longs.setdefault(long, short)


def settings(tree: Tree) -> Principals:
    """The data plane's settings."""
    principals = tree["principals"]
    domains = {short.lower(): long for short, long in sorted(principals["domains"].items())}
    return Principals(domains=domains, default_domain=principals.get("default_domain", ""))


FEATURE = Feature(
    name="principals",
    label="Names of users",
    default={},
    schema=values.group(
        "Names of users",
        "How the names are read that phones log on with (user, DOMAIN\\user, user@domain). What is not said here is not"
        " guessed: then two forms of a name are two users.",
        domains=values.named(
            {"type": "string", "check_with": values.check(_SHORT.fullmatch, SHORT), "meta": {"allowed": SHORT}},
            DNS_KIND,
            "Domains",
            "NetBIOS domain and the DNS domain that it is: CORP\\anna is then anna@corp.example.",
            most=DOMAINS,
            default={},
        ),
        default_domain=values.described(
            DNS_KIND, "Default domain", "Whose users log on without a domain. Without it such names stay without one."
        ),
    ),
    verify=verify,
)
