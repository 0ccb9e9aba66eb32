"""The topic about log-in by certificate: how it is set up, and until when the revocation lists hold."""

from collections.abc import Mapping
from typing import Any

from cryptography import x509

from appliance.apply import stamp
from appliance.chains import subject
from appliance.configd import accounts
from appliance.configd.api import Facts
from appliance.configd.facts.context import Context, Topic, word
from appliance.features.certificate_login import lists_of

NONE = "none"


def certificate_login(context: Context, _argument: str) -> Facts:
    """What the running configuration says, without the certificates themselves."""
    settings = context.setting("portal", "certificate_login", default={})
    said = accounts.certificate_login(context.tree)
    held = accounts.identities(context.tree)
    facts = (
        ("mode", said.mode),
        ("mapping", word(said.mapping) or NONE),
        ("authorities", _authorities(settings.get("authorities", ""))),
        ("revocation", "strict" if said.strict else "off"),
        ("lists hold until", _until(settings)),
        ("accounts", str(len(held))),
        ("accounts without an EDIPI", str(sum(1 for one in held.values() if not one.edipi))),
    )
    return Facts(title="certificate log-in", facts=facts)


def _authorities(text: str) -> str:
    found = x509.load_pem_x509_certificates(text.encode()) if text else ()
    return "; ".join(map(subject, found)) or NONE


def _until(settings: Mapping[str, Any]) -> str:
    """When the first of the lists ends."""
    lists = lists_of(settings.get("revocation", {}).get("crls", ""))
    ends = [one.next_update_utc for one in lists if one.next_update_utc is not None]
    return stamp(min(ends).timestamp()) if ends else NONE


TOPICS = {"certificate-login": Topic("log-in to the portal by certificate", certificate_login)}
