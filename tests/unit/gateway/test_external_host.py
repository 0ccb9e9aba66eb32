"""The name that Autodiscover sends devices to goes into documents for strangers: only a name may stand there."""

import msgspec
import pytest

from sentry_runtime.settings import Gateway


def gateway(name: str) -> Gateway:
    """The gateway's settings as they are read."""
    tree = {
        "listeners": [],
        "tls": {"certificate": "/c", "key": "/k"},
        "backends": [],
        "external_host": name,
    }
    return msgspec.json.decode(msgspec.json.encode(tree), type=Gateway)


@pytest.mark.parametrize("name", ["", "gw", "gw.lab.test", "gw-1.Lab.test:8443", "192.0.2.1"])
def test_a_name_with_or_without_a_port_is_taken(name: str) -> None:
    """Or nothing: then Autodiscover is not served."""
    assert gateway(name).external_host == name


@pytest.mark.parametrize(
    "name", ["gw/x", "a b", "gw:", "gw:x", "user@gw", ".gw", "gw.", "<gw>", "gw\r\nX: y", "gw\n", "g" * 300]
)
def test_anything_else_is_an_error(name: str) -> None:
    """Which names the place."""
    with pytest.raises(msgspec.ValidationError, match=r"\$\.external_host"):
        gateway(name)
