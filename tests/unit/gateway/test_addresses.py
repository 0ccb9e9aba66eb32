"""Where a redirection may lead."""

import ipaddress
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.gateway.addresses import SPECIAL, may_dial, networks_of, parsed, permitted

# address | listed networks | the machine's own | may be dialled
JUDGED = (
    ("10.1.2.3", ("10.0.0.0/8",), False, True),
    ("10.1.2.3", ("192.168.0.0/16",), False, False),
    ("10.1.2.3", (), False, False),
    ("203.0.113.7", ("0.0.0.0/0",), False, True),
    ("2001:db8::7", ("2001:db8::/32",), False, True),
    ("2001:db8::7", ("0.0.0.0/0",), False, False),
    # Special ones, however large the listed network ...
    ("127.0.0.1", ("0.0.0.0/0",), False, False),
    ("169.254.169.254", ("0.0.0.0/0",), False, False),
    ("169.254.169.254", ("128.0.0.0/1",), False, False),
    ("100.100.100.200", ("100.64.0.0/10",), False, False),
    ("168.63.129.16", ("168.63.0.0/16",), False, False),
    ("192.0.0.192", ("192.0.0.0/8",), False, False),
    ("0.0.0.0", ("0.0.0.0/0",), False, False),  # noqa: S104 - judged
    ("224.0.0.1", ("0.0.0.0/0",), False, False),
    ("255.255.255.255", ("0.0.0.0/0",), False, False),
    ("::1", ("::/0",), False, False),
    ("::", ("::/0",), False, False),
    ("fe80::1", ("::/0",), False, False),
    ("ff02::1", ("::/0",), False, False),
    ("fd00:ec2::254", ("fd00::/8",), False, False),
    ("64:ff9b::a9fe:a9fe", ("::/0",), False, False),
    ("2002:a9fe:a9fe::1", ("::/0",), False, False),
    ("2001:0:a9fe:a9fe::1", ("2001::/16",), False, False),
    # ... unless it is just that which was listed.
    ("127.0.0.1", ("127.0.0.0/8",), True, True),
    ("127.0.0.1", ("0.0.0.0/0", "127.0.0.1/32"), True, True),
    ("169.254.10.1", ("169.254.10.0/24",), False, True),
    ("::1", ("::1/128",), True, True),
    # The machine's own: only as itself.
    ("10.1.2.3", ("10.1.2.0/24",), True, False),
    ("10.1.2.3", ("10.1.2.0/24", "10.1.2.3/32"), True, True),
    ("2001:db8::7", ("2001:db8::/32",), True, False),
    # IPv4 in the clothes of IPv6 is IPv4.
    ("::ffff:169.254.169.254", ("::/0", "0.0.0.0/0"), False, False),
    ("::ffff:10.1.2.3", ("10.0.0.0/8",), False, True),
)


@pytest.mark.parametrize(("address", "networks", "own", "allowed"), JUDGED)
def test_an_address_is_judged_by_the_listed_networks(
    address: str, networks: tuple[str, ...], *, own: bool, allowed: bool
) -> None:
    """Special and own addresses are nobody's mail server unless somebody says just that."""
    found = parsed(address)
    assert found is not None
    assert may_dial(found, networks_of(networks), own=own) == allowed


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6), *(st.ip_addresses(network=one) for one in SPECIAL))
NETWORKS = st.lists(
    st.builds(
        lambda address, bits: ipaddress.ip_network((address, min(bits, address.max_prefixlen)), strict=False),
        ADDRESSES,
        st.sampled_from([0, 1, 7, 8, 10, 16, 24, 32, 48, 64, 96, 128]),
    ),
    max_size=4,
)


@given(address=ADDRESSES, networks=NETWORKS, own=st.booleans())
def test_nothing_is_dialled_that_no_network_holds_and_no_special_one_by_a_wider_network(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network],
    *,
    own: bool,
) -> None:
    """Told from the other side: each yes has its network."""
    allowed = may_dial(address, networks, own=own)
    holding = [one for one in networks if address in one]
    special = [one for one in SPECIAL if address in one]
    narrow = [one for one in holding if any(one.version == wide.version and one.subnet_of(wide) for wide in special)]  # type: ignore[arg-type]
    if special:
        assert allowed == bool(narrow)
    elif own:
        assert allowed == any(one.num_addresses == 1 for one in holding)
    else:
        assert allowed == bool(holding)


def test_of_what_a_name_means_only_the_allowed_part_is_left_in_its_order() -> None:
    """Nonsense of a resolver is no address."""
    found = ["10.0.0.9", "169.254.169.254", "10.0.0.1", "fe80::1%eth0", "nonsense", "::ffff:10.0.0.3"]
    assert permitted(found, networks_of(["10.0.0.0/8"]), own=lambda address: str(address) == "10.0.0.1") == [
        "10.0.0.9",
        "10.0.0.3",
    ]


def test_the_machine_knows_its_own_addresses_without_sending_anything() -> None:
    """In a network of its own, where nothing but two addresses exists; neighbours and strangers are not its own."""
    script = (
        "ip link set lo up && ip link add v0 type veth peer v1 && ip addr add 10.9.8.7/24 dev v0"
        " && ip addr add 2001:db8:9::7/64 dev v0 nodad && ip link set v0 up && ip link set v1 up"
        f" && exec {sys.executable} -c '"
        "import ipaddress; from sentry_runtime.gateway.addresses import is_own;"
        'print(*(int(is_own(ipaddress.ip_address(one))) for one in "10.9.8.7 10.9.8.6 127.0.0.2 192.0.2.1'
        " 2001:db8:9::7 2001:db8:9::8 ::1\".split()))'"
    )
    argv = ["unshare", "--map-root-user", "--net", "sh", "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["1", "0", "1", "0", "1", "0", "1"]
