"""What the settings say of how devices log on and how names are read."""

from pathlib import Path

import msgspec
import pytest

from sentry_runtime.gateway.credentials import Scheme
from sentry_runtime.settings import (
    Agent,
    Backend,
    ClientTls,
    Gateway,
    Principals,
    ServerTls,
    Settings,
    SettingsError,
    UemLink,
    parse,
)

WHOLE = Settings(
    gateway=Gateway(
        listeners=(), tls=ServerTls(certificate="c", key="k"), backends=(Backend(name="mail", host="127.0.0.1"),)
    ),
    agent=Agent(uem=UemLink(mode="embedded", url="https://127.0.0.1", tls=ClientTls(trust="t"))),
)
FILE = Path("runtime.json")


def text(**changes: object) -> bytes:
    """The settings file with these parts."""
    return msgspec.json.encode({**msgspec.to_builtins(WHOLE), **changes})


def test_what_is_said_comes_back() -> None:
    """And what is not said is Basic, with names as they are written."""
    assert parse(text(), FILE) == WHOLE
    assert WHOLE.principals.names().canonical("CORP\\anna") == "anna@corp"
    said = Principals(domains={"corp": "corp.example"}, default_domain="corp.example")
    found = parse(text(principals=said), FILE)
    assert found.principals == said
    assert found.principals.names().canonical("anna") == "anna@corp.example"


@pytest.mark.parametrize(
    ("principals", "words"),
    [
        ({"domains": {"CORP": "corp.example"}}, "NetBIOS domain of 1 to 15 characters, in lower case.*principals"),
        ({"domains": {"corp": "corp"}}, "DNS domain such as corp.example.*principals"),
        ({"domains": {"a": "x.test", "b": "x.test"}}, "their users would become one.*principals"),
        ({"default_domain": "corp"}, "DNS domain such as corp.example.*principals"),
        ({"domain": {}}, "unknown field `domain`.*principals"),
    ],
)
def test_names_that_cannot_be_read_so_are_errors_at_their_place(principals: dict[str, object], words: str) -> None:
    """Never silently without effect."""
    with pytest.raises(SettingsError, match=words):
        parse(text(principals=principals), FILE)


@pytest.mark.parametrize("schemes", [[], ["digest"], ["basic", "kerberos"]])
def test_a_scheme_nobody_knows_is_an_error(schemes: list[str]) -> None:
    """So is none at all."""
    gateway = {**msgspec.to_builtins(WHOLE.gateway), "authentication": schemes}
    with pytest.raises(SettingsError, match=r"gateway\.authentication"):
        parse(text(gateway=gateway), FILE)


def test_every_scheme_of_the_settings_is_one_that_the_gateway_reads() -> None:
    """And the other way round."""
    gateway = {**msgspec.to_builtins(WHOLE.gateway), "authentication": [scheme.value for scheme in Scheme]}
    assert parse(text(gateway=gateway), FILE).gateway.authentication == tuple(Scheme)


def test_a_file_that_is_no_text_is_an_error_of_the_settings() -> None:
    """As any other that cannot be read: with its path, and no traceback."""
    with pytest.raises(SettingsError, match=r"^runtime\.json: .*utf-8"):
        parse(text().replace(b'"mail"', b'"m\xe4il"'), FILE)
