"""Rules that are decided by comparing with the site's own word."""

import pytest

from stig.judge import site

TRUE = {"EMM-source-verify": "true"}


@pytest.mark.parametrize(
    ("verified", "shown", "backends", "status"),
    [
        (TRUE, "192.0.2.0/25", ("10.0.0.1",), "not_a_finding"),
        (TRUE, "192.0.2.7, 192.0.2.8", ("10.0.0.1",), "not_a_finding"),
        ({"EMM-source-verify": "not configured"}, "192.0.2.7", ("10.0.0.1",), "open"),
        (TRUE, "192.0.2.7, 198.51.100.1", ("10.0.0.1",), "open"),
        (TRUE, "192.0.0.0/16", ("10.0.0.1",), "open"),
        (TRUE, "2001:db8::1", ("10.0.0.1",), "open"),
        (TRUE, "not configured", ("10.0.0.1",), "open"),
        (TRUE, "192.0.2.7", (), "open"),
    ],
)
def test_the_uem_alone_may_manage(verified: dict[str, str], shown: str, backends: tuple[str, ...], status: str) -> None:
    """Its sender is verified, its addresses are those of the site's UEM, and services are declared."""
    assert site.uem(verified, {"emm-ips": shown}, ("192.0.2.0/24",), backends).status == status


@pytest.mark.parametrize(("running", "status"), [("1.2.3", "not_a_finding"), ("1.2.30", "open"), ("", "open")])
def test_the_release_is_a_supported_one(running: str, status: str) -> None:
    """By its whole name."""
    assert site.release(running, ("1.2.3", "1.3.0")).status == status


@pytest.mark.parametrize(
    ("hosts", "status"), [(("a", "b"), "not_a_finding"), (("a", "c"), "open"), ((), "open"), (("a",), "not_a_finding")]
)
def test_log_ins_go_to_designated_servers(hosts: tuple[str, ...], status: str) -> None:
    """To no other, and to one at least."""
    assert site.designated(hosts, ("a", "b")).status == status


@pytest.mark.parametrize(
    ("answering", "status"),
    [
        ({"device": (443,), "management": (22, 443)}, "not_a_finding"),
        ({"device": (443, 8443), "management": (22, 443)}, "open"),
        ({"device": (443,), "management": (443,)}, "open"),
        ({"device": (443,)}, "open"),
        ({"device": (443,), "management": (22, 443), "backend": (22,)}, "open"),
    ],
)
def test_needed_ports_answer_and_no_others(answering: dict[str, tuple[int, ...]], status: str) -> None:
    """In each zone, also in one that the site does not name."""
    reach = site.Reach((22, 443, 8443), answering)
    assert site.ports(reach, {"device": [443], "management": [22, 443]}).status == status


@pytest.mark.parametrize(
    ("found", "status"),
    [((), "not_a_finding"), (("default via 192.0.2.1",), "not_a_finding"), (("10.0.0.0/8 via 192.0.2.1",), "open")],
)
def test_every_route_is_approved(found: tuple[str, ...], status: str) -> None:
    """Approved ones need not be there."""
    assert site.routes(found, ("default via 192.0.2.1",)).status == status
