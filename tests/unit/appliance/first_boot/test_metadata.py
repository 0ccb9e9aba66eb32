"""User-data from the metadata services of clouds."""

import base64
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.first_boot import metadata, network
from appliance.first_boot.found import PlaceError
from appliance.first_boot.metadata import WAIT_SECONDS, Service
from appliance.process import CommandError
from tests.unit.appliance.first_boot import clouds
from tests.unit.appliance.first_boot.clouds import Cloud
from tests.unit.appliance.workbench import Clock

DATA = b"hostname: gw1.example.test\n"


@pytest.fixture
def cloud() -> Cloud:
    """What the service has and was asked."""
    return Cloud()


@pytest.fixture
def ec2(cloud: Cloud) -> Iterator[Service]:
    """EC2's service."""
    with clouds.running(clouds.Ec2, cloud) as service:
        yield service


@pytest.fixture
def azure(cloud: Cloud) -> Iterator[Service]:
    """Azure's two services, which are one here."""
    with clouds.running(clouds.Azure, cloud) as service:
        yield service


def test_ec2_user_data_is_had_with_a_token(cloud: Cloud, ec2: Service) -> None:
    cloud.user_data = DATA
    found = metadata.ec2(ec2)
    assert found is not None
    assert found.data == DATA
    assert [asked[:2] for asked in cloud.asked] == [("PUT", "/latest/api/token"), ("GET", "/latest/user-data")]


def test_ec2_without_user_data_is_none(ec2: Service) -> None:
    assert metadata.ec2(ec2) is None


def test_a_service_that_gives_no_token_is_asked_nothing_more(cloud: Cloud, ec2: Service) -> None:
    cloud.tokens, cloud.user_data = False, DATA
    with pytest.raises(PlaceError, match="gave no token"):
        metadata.ec2(ec2)
    assert len(cloud.asked) == 1


def test_azure_user_data_is_decoded_and_azure_hears_that_the_machine_is_up(cloud: Cloud, azure: Service) -> None:
    cloud.user_data = base64.b64encode(DATA)
    found = metadata.azure(azure, azure)
    assert found is not None
    assert found.data == DATA
    method, path, body = cloud.asked[-1]
    assert (method, path) == ("POST", "/machine?comp=health")
    assert "<ContainerId>6fe86e8a-0fd4-4dd4-bd39-ba1f4e3ef8cc</ContainerId>" in body
    assert "<InstanceId>a3c8-4f17._gw1</InstanceId>" in body
    assert "<State>Ready</State>" in body


def test_azure_without_user_data_is_none(azure: Service) -> None:
    assert metadata.azure(azure, azure) is None


def test_what_is_no_base64_is_told(cloud: Cloud, azure: Service) -> None:
    cloud.user_data = b"hostname: gw1"
    with pytest.raises(PlaceError, match="user data of Azure: must be in base64"):
        metadata.azure(azure, azure)


def test_a_service_that_never_answers_is_given_up() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    clock = Clock(0.0)
    with pytest.raises(PlaceError, match="does not answer"):
        metadata.ec2(Service("127.0.0.1", port), clock=clock, sleep=clock.sleep)
    assert clock.now >= WAIT_SECONDS


# --- the network meanwhile -------------------------------------------------------------------------------------------


class Ran:
    """What would have been run; `fails` is the word of a command that does."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.log: list[str] = []
        self.rules = ""

    def __call__(self, argv: list[str], *, stdin: str | None = None) -> str:
        self.log.append(" ".join(argv))
        self.rules = stdin or self.rules
        if self.fails and self.fails in argv:
            raise CommandError(argv, 1, "told to fail")
        return ""


CLOSED = ["nft -f /usr/lib/sentry/closed.nft", "networkctl reload"]


def test_root_alone_may_ask_the_services_and_nothing_else_goes_out() -> None:
    rules = network.ruleset()
    outward = rules[rules.index("chain output") :]
    allowed = [line.strip() for line in outward.splitlines() if "dport" in line]
    assert allowed == [
        "udp sport 68 udp dport 67 accept",
        'ip daddr { 169.254.169.254 } tcp dport 80 meta skuid "root" accept comment "first boot"',
        'ip daddr { 168.63.129.16 } tcp dport 80 meta skuid "root" accept comment "first boot"',
    ]
    assert rules.count("policy drop") == 3


def test_afterwards_everything_is_as_before(tmp_path: Path) -> None:
    ran = Ran()
    with network.opened(ran, tmp_path):
        assert "DHCP=ipv4" in (tmp_path / network.NAME).read_text()
        assert ran.log == ["nft -f -", "networkctl reload"]
    assert list(tmp_path.iterdir()) == []
    assert ran.log[2:] == CLOSED


def test_what_fails_meanwhile_closes_it_too(tmp_path: Path) -> None:
    ran = Ran()
    with pytest.raises(PlaceError), network.opened(ran, tmp_path):
        raise PlaceError("no")
    assert ran.log[2:] == CLOSED
    assert list(tmp_path.iterdir()) == []
