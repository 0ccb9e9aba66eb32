"""Whether a start went well, looked at with real sockets and with configd's word as a value."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.configd import api
from appliance.configd.client import Unreachable
from appliance.software.health import HEALTHY_SECONDS, PORTS, Looks, answers, listeners, problems, until_well

UNITS = ("sentry-configd.service", *PORTS.values())


def metrics(revision: int = 7, **states: str) -> api.Metrics:
    """configd's word: everything runs but what is named."""
    units = tuple(
        api.UnitHealth(name=name, active=states.get(name.partition(".")[0].replace("-", "_"), "active"), wanted=True)
        for name in UNITS
    )
    health = api.Health(
        units=units, gateway={}, agent={}, device_cache_size=0, disks={}, synchronised=None, thorough=False, fips=None,
        certificates={},
    )  # fmt: skip
    return api.Metrics(health=health, revision=revision, waiting=False)


def looks(said: api.Metrics, *, listening: tuple[int, ...] = (443, 8443, 22), wrong: str = "") -> Looks:
    return Looks(lambda: said, lambda: dict.fromkeys(listening, "127.0.0.1"), lambda _address, _port: wrong)


def test_a_machine_on_which_all_runs_and_answers_is_well() -> None:
    assert list(problems(looks(metrics()))) == []


def test_what_does_not_run_is_named() -> None:
    assert list(problems(looks(metrics(sentry_gateway="failed")))) == ["sentry-gateway.service is failed"]


@pytest.mark.parametrize("port", PORTS)
def test_a_port_on_which_nobody_listens_is_named(port: int) -> None:
    listening = tuple(one for one in PORTS if one != port)
    assert list(problems(looks(metrics(), listening=listening))) == [f"nobody listens on port {port}"]


def test_a_port_that_answers_nonsense_is_named() -> None:
    assert list(problems(looks(metrics(), wrong="this is not SSH"))) == [
        f"port {port}: this is not SSH" for port in PORTS
    ]


def test_a_machine_without_a_configuration_is_well_once_configd_says_so() -> None:
    assert list(problems(looks(metrics(revision=0), listening=()))) == []


def test_a_configd_that_does_not_answer_is_not_well() -> None:
    def away() -> api.Metrics:
        raise Unreachable("configd does not answer on x")

    assert list(problems(Looks(away, dict, answers))) == ["configd: configd does not answer on x"]


def test_one_looks_again_until_all_is_well() -> None:
    states = iter([metrics(sentry_gateway="activating"), metrics(sentry_gateway="activating"), metrics()])
    slept: list[float] = []
    held = looks(metrics())
    assert (
        until_well(Looks(lambda: next(states), held.listeners, held.answers), clock=lambda: 0.0, sleep=slept.append)
        == ()
    )
    assert len(slept) == 2


def test_one_gives_up_when_the_time_is_over() -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    found = until_well(looks(metrics(ssh="failed")), clock=lambda: now[0], sleep=sleep)
    assert found == ("ssh.service is failed",)
    assert HEALTHY_SECONDS <= now[0] < HEALTHY_SECONDS + 10


# --- real ports ------------------------------------------------------------------------------------------------------


@contextmanager
def serving(*, banner: bytes = b"", context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A port of loopback that says `banner`, or speaks TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                connected, _ = listener.accept()
            except OSError:
                return
            with connected:
                try:
                    if context is not None:
                        context.wrap_socket(connected, server_side=True).close()
                    else:
                        connected.sendall(banner)
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder: Path = tmp_path_factory.mktemp("tls")
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x",
            "-keyout", folder / "key.pem", "-out", folder / "cert.pem"]  # fmt: skip
    subprocess.run([str(word) for word in argv], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def test_tls_is_an_answer_whoever_signed_its_certificate(tls: ssl.SSLContext) -> None:
    with serving(context=tls) as port:
        assert answers("127.0.0.1", port) == ""


def test_a_tls_that_refuses_us_is_an_answer_too(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway may ask each client for a certificate, and we have none."""
    monkeypatch.setattr(tls, "verify_mode", ssl.CERT_REQUIRED)
    monkeypatch.setattr(tls, "maximum_version", ssl.TLSVersion.TLSv1_2)
    with serving(context=tls) as port:
        assert answers("127.0.0.1", port) == ""


def test_what_speaks_no_tls_is_none() -> None:
    with serving(banner=b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert "no TLS" in answers("127.0.0.1", port)


def test_a_port_that_is_closed_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "refused" in answers("127.0.0.1", port)


def test_who_listens_is_what_the_kernel_says(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    table.write_text(
        "  sl  local_address rem_address   st\n"
        "   0: 0202620A:20FB 00000000:0000 0A x\n"  # 10.98.2.2:8443
        "   1: 00000000:0016 00000000:0000 0A x\n"
        "   2: 0100007F:1F90 0100007F:0050 01 x\n"  # established
    )
    table6 = tmp_path / "tcp6"
    table6.write_text(
        "  sl  local_address                         remote_address                        st\n"
        "   0: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A x\n"
        "   1: B80D0120000000000000000001000000:0051 00000000000000000000000000000000:0000 0A x\n"
    )
    assert listeners((table, table6)) == {8443: "10.98.2.2", 22: "127.0.0.1", 443: "::1", 81: "2001:db8::1"}


def test_this_machine_s_own_table_is_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert listeners()[listener.getsockname()[1]] == "127.0.0.1"
