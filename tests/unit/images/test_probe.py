"""nmap's reports, and what is made of them."""

import pytest

from images.crossing import Call, Heard
from images.lab.steps import trespasses, unexpected
from images.lab.zones import ZONES
from images.probe import ProbeError, Seen, Target, parse

REPORT = """<?xml version="1.0"?>
<nmaprun scanner="nmap"><scaninfo type="syn" protocol="tcp" numservices="65535" services="1-65535"/>
<host><status state="up"/><ports><extraports state="filtered" count="65532"/>
<port protocol="tcp" portid="22"><state state="open" reason="syn-ack"/></port>
<port protocol="tcp" portid="80"><state state="closed" reason="reset"/></port>
<port protocol="tcp" portid="443"><state state="open" reason="syn-ack"/></port>
<port protocol="udp" portid="161"><state state="open|filtered" reason="no-response"/></port>
</ports></host><runstats><finished time="1" exit="success"/></runstats></nmaprun>"""


def test_open_ports_are_those_that_answered() -> None:
    """Closed, filtered and silent ports are not open."""
    assert parse(REPORT, "tcp") == (frozenset({22, 443}), 65535)


@pytest.mark.parametrize(
    ("report", "why"),
    [
        (REPORT.replace('exit="success"', 'exit="error"'), "did not finish"),
        (REPORT.partition("<runstats>")[0] + "</nmaprun>", "did not finish"),
        (REPORT[:200], "cannot be read"),
        ("", "cannot be read"),
        ('<nmaprun><runstats><finished exit="success"/></runstats></nmaprun>', "no tcp scan"),
    ],
)
def test_an_unfinished_probe_is_an_error(report: str, why: str) -> None:
    """It must never look like a machine without open ports."""
    with pytest.raises(ProbeError, match=why):
        parse(report, "tcp")


def seen(tcp: tuple[set[int], set[int], set[int]], udp: set[int] | None = None) -> tuple[Seen, ...]:
    """What a probe of the three zones found."""
    return tuple(
        Seen(Target(zone.name, zone.address, "if"), frozenset(ports), frozenset(udp or ()), 65535)
        for zone, ports in zip(ZONES, tcp, strict=True)
    )


def test_the_expected_ports_and_no_others_pass() -> None:
    """Devices see 443, administrators all three, backends none."""
    assert unexpected(seen(({443}, {22, 443, 8443}, set()))) == []


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (seen(({443, 22}, {22, 443, 8443}, set())), "device zone: TCP 22 answers at 10.98.1.2 and must not"),
        (seen(({443}, {22, 443}, set())), "management zone: TCP 8443 must answer at 10.98.2.2 and does not"),
        (seen(({443}, {22, 443, 8443}, {443})), "backend zone: TCP 443 answers at 10.98.3.2 and must not"),
    ],
)
def test_every_difference_is_a_sentence(found: tuple[Seen, ...], sentence: str) -> None:
    """One too many is as wrong as one too few."""
    assert unexpected(found) == [sentence]


def test_what_a_zone_reaches_by_another_zones_address_only_is_a_difference() -> None:
    """The portal called by its management address from the device zone; what the zone may see anyway is none."""
    heard = (
        Heard(Call("device", "lab-device", "02:00:00:00:00:01", "10.98.2.2"), frozenset({443, 8443})),
        Heard(Call("management", "lab-mgmt", "02:00:00:00:00:02", "10.98.1.2"), frozenset({22, 443})),
    )
    assert trespasses(heard) == ["device zone: TCP 8443 answers at 10.98.2.2, another zone's address, and must not"]


def test_an_answering_udp_port_is_a_difference_in_its_zone() -> None:
    """SNMP answers in the management zone, and no UDP port of the appliance anywhere else."""
    assert len(unexpected(seen(({443}, {22, 443, 8443}, set()), udp={161}))) == 2
