"""All features, in the order in which they are applied, and what they need from the network together.

The order: the name and the network first; then the accounts, before certificates that belong to groups; the firewall
before anything that listens; the data plane and the portal last.
"""

from appliance.features import (
    acl,
    alerts,
    backends,
    backup,
    banner,
    certificates,
    cli,
    directory,
    dns,
    email,
    firewall,
    gateway,
    hostname,
    interfaces,
    ntp,
    portal,
    principals,
    snmp,
    ssh,
    syslog,
    tls_profiles,
    uem,
    users,
)
from appliance.features.base import Feature, Flow, Tree


def flows(tree: Tree) -> tuple[Flow, ...]:
    """Every flow the features need with the settings of `tree` (validated, with defaults)."""
    return tuple(flow for feature in FEATURES for flow in feature.flows(tree))


FEATURES: tuple[Feature, ...] = (
    hostname.FEATURE,
    interfaces.FEATURE,
    dns.FEATURE,
    ntp.FEATURE,
    banner.FEATURE,
    users.FEATURE,
    certificates.FEATURE,
    tls_profiles.FEATURE,
    acl.FEATURE,
    firewall.feature(flows),
    ssh.FEATURE,
    cli.FEATURE,
    syslog.FEATURE,
    snmp.FEATURE,
    backends.FEATURE,
    principals.FEATURE,
    uem.FEATURE,
    gateway.FEATURE,
    portal.FEATURE,
    directory.FEATURE,
    email.FEATURE,
    alerts.FEATURE,
    backup.FEATURE,
)
