"""TLS contexts from settings, and the errors that name the wrong file."""

import ssl
from pathlib import Path

import msgspec
import pytest

from sentry_runtime.settings import SettingsError
from sentry_runtime.tls import client_context, server_context
from tests.agent.stage import Pki


def test_the_versions_are_those_of_the_settings(pki: Pki) -> None:
    """1.2 and only that by default; 1.3 where the site says so."""
    for context in (server_context(pki.server("uem")), client_context(pki.client("agent"))):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.maximum_version is ssl.TLSVersion.TLSv1_2
    modern = msgspec.structs.replace(pki.server("uem"), maximum="1.3")
    assert server_context(modern).maximum_version is ssl.TLSVersion.TLSv1_3


def test_a_dialler_always_checks_and_a_listener_asks_where_it_knows_an_authority(pki: Pki) -> None:
    """Nobody dials without checking the name."""
    dialler = client_context(pki.client(None))
    assert (dialler.verify_mode, dialler.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert server_context(pki.server("uem")).verify_mode is ssl.CERT_REQUIRED
    open_to_all = pki.plain_server("uem")
    assert server_context(open_to_all).verify_mode is ssl.CERT_NONE


def test_only_the_named_authority_is_trusted(pki: Pki) -> None:
    """None of the machine's."""
    assert [dict(one[0] for one in ca["subject"]) for ca in client_context(pki.client(None)).get_ca_certs()] == [  # type: ignore[misc]
        {"commonName": "ca"}
    ]


def test_a_wrong_file_is_named(pki: Pki, tmp_path: Path) -> None:
    """Missing, not PEM, a key of another certificate, a key with a pass phrase, half a pair, versions the wrong way round."""
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("hello")
    for change, words in (
        ({"certificate": "/nowhere.pem"}, "certificate /nowhere.pem with key .*: No such file or directory"),
        ({"key": str(garbage)}, "garbage.pem"),
        ({"key": str(pki.folder / "agent.key")}, "agent.key: .*(mismatch|KEY_VALUES_MISMATCH)"),
        ({"client_ca": str(garbage)}, "trust anchors .*garbage.pem"),
        ({"minimum": "1.3"}, "from 1.3 to 1.2: the lowest is above the highest"),
    ):
        with pytest.raises(SettingsError, match=words):
            server_context(msgspec.structs.replace(pki.server("uem"), **change))
    with pytest.raises(SettingsError, match="come together"):
        client_context(msgspec.structs.replace(pki.client("agent"), key=None))
