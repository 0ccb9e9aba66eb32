"""The peers' configurations, as they are written."""

from pathlib import Path

import pytest

from tests.bench import gateway, pki
from tests.bench.peers import PEERS, configuration
from tests.bench.proxy import Proxy
from tests.bench.stage import Plan, Stage
from tests.bench.trail import pipe_of

PLACE = Path("/nowhere")


def stage(*, backend_tls: bool = False) -> Stage:
    pair = pki.Pair(PLACE / "a.pem", PLACE / "a.key", PLACE / "a.both")
    return Stage(PLACE, Plan("p256", 1_000, backend_tls), pair, PLACE / "ca.pem", 8_080)


@pytest.mark.parametrize("name", PEERS)
def test_each_has_the_same_cipher_version_and_backend(name: str) -> None:
    text = configuration(PEERS[name], stage(), Proxy(name, 4_443, PLACE), 1)
    assert pki.CIPHERS["p256"] in text
    assert "TLSv1.2" in text
    assert "TLSv1.3" not in text
    assert "127.0.0.1:8080" in text
    assert "127.0.0.1:4443" in text
    assert "{{" not in text


@pytest.mark.parametrize("name", PEERS)
def test_each_writes_the_fields_of_the_trail(name: str) -> None:
    text = configuration(PEERS[name], stage(), Proxy(name, 4_443, PLACE), 1)
    fields = (
        "time id event source source_port listener method path command device_id device_type principal protocol action"
    )
    assert all(f'"{field}":' in text for field in f"{fields} status bytes_in bytes_out milliseconds backend".split())
    assert str(stage().trail) in text or str(pipe_of(stage().trail)) in text


@pytest.mark.parametrize("name", PEERS)
def test_a_backend_with_tls_is_verified_by_all(name: str) -> None:
    plain, tls = (
        configuration(PEERS[name], stage(backend_tls=one), Proxy(name, 4_443, PLACE), 1) for one in (False, True)
    )
    assert str(PLACE / "ca.pem") not in plain
    assert str(PLACE / "ca.pem") in tls
    assert pki.BACKEND in tls


def test_the_gateway_has_its_own_defaults_but_for_one() -> None:
    whole = gateway.settings_of(stage(), Proxy("ours", 4_443, PLACE), 2)
    assert whole.gateway.throttle is None
    assert whole.gateway.limits == type(whole.gateway.limits)()
    assert whole.gateway.routing == type(whole.gateway.routing)()
    assert whole.paths.audit_socket == str(stage().trail)
