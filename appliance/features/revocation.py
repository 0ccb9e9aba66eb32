"""The agent's ways to revocation lists and OCSP responders, of devices' certificates as of administrators'."""

from appliance.features import dns, values
from appliance.features.base import Flow, Tree
from sentry_runtime.settings import Revocation

AGENT = "sentry-agent"


def flows(tree: Tree, revocation: Revocation | None, owner: str) -> tuple[Flow, ...]:
    """What the packet filter lets out for them, in the name of the feature `owner`; nothing where nobody asks."""
    if revocation is None:
        return ()
    urls = (*revocation.crl_urls, *filter(None, (revocation.ocsp_url,)))
    places = (values.place_of(url) for url in urls)
    return tuple(Flow(owner, "out", "tcp", port, None, dns.addresses_of(tree, host), AGENT) for host, port in places)
