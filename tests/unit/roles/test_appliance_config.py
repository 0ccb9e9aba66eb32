"""The configuration is handed to configd, and the ports that must answer are really asked."""

import importlib.util
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from ansible import module_utils

REPO = Path(__file__).resolve().parents[3]
COMMITTED = {
    "changed": True,
    "revision": 7,
    "changes": [
        {"path": ["hostname"], "before": "a", "after": "b"},
        {"path": ["users", "accounts", "admin", "password_hash"], "before": None, "after": "********"},
    ],
    "files": ["/etc/hostname"],
    "units": [],
}


class Ended(Exception):  # noqa: N818 - it ends the module, as fail_json and exit_json do
    def __init__(self, answer: dict[str, object]) -> None:
        super().__init__(answer)
        self.answer = answer


class Fake:
    """Stands for AnsibleModule, with sentry-configctl's answer."""

    def __init__(self, code: int = 0, out: str = "", err: str = "", *, check: bool = False, **params: object) -> None:
        self.check_mode = check
        self.params = {
            "tree": '{"a": 1}',
            "settings": None,
            "comment": "test",
            "confirm_minutes": None,
            "answering": [],
            "url": None,
            **params,
        }
        self.ended = (code, out, err)
        self.calls: list[tuple[list[str], str]] = []

    def run_command(self, argv: list[str], *, data: str) -> tuple[int, str, str]:
        self.calls.append((argv, data))
        return self.ended

    def fail_json(self, **answer: object) -> None:
        raise Ended(answer)


@pytest.fixture(scope="module")
def config() -> ModuleType:
    path = REPO / "roles/management/library/appliance_config.py"
    module_utils.__path__.append(str(REPO / "roles/management/module_utils"))
    spec = importlib.util.spec_from_file_location("appliance_config", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_the_tree_goes_in_on_standard_input_and_never_into_the_arguments(config: ModuleType) -> None:
    fake = Fake(out=json.dumps(COMMITTED), tree='{"secret": "s3cret"}')
    assert config.commit(fake) == COMMITTED
    [(argv, data)] = fake.calls
    assert data == '{"secret": "s3cret"}'
    assert not any("s3cret" in word for word in argv)
    assert "--check" not in argv


def test_check_mode_lets_the_appliance_check_and_confirm_minutes_arm_the_rollback(config: ModuleType) -> None:
    fake = Fake(out=json.dumps(COMMITTED), check=True, confirm_minutes=5)
    config.commit(fake)
    argv = fake.calls[0][0]
    assert "--check" in argv
    assert argv[argv.index("--confirm") + 1] == "5"


def test_a_refusal_fails_with_what_the_appliance_said(config: ModuleType) -> None:
    with pytest.raises(Ended) as ended:
        config.commit(Fake(code=1, err="dns.servers.0: found 'x'; allowed: an IP address\n"))
    assert "dns.servers.0: found 'x'" in str(ended.value.answer["msg"])


def test_the_diff_has_a_line_for_each_changed_setting(config: ModuleType) -> None:
    diff = config.difference(COMMITTED["changes"])
    assert diff["before"] == 'hostname: "a"\n'
    assert diff["after"] == 'hostname: "b"\nusers.accounts.admin.password_hash: "********"\n'


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("0100007F", "127.0.0.1"),
        ("0261620A", "10.98.97.2"),
        ("00000000", "127.0.0.1"),
        ("00000000000000000000000000000000", "::1"),
        ("B80D0120000000000000000002000000", "2001:db8::2"),
    ],
)
def test_addresses_are_read_as_the_kernel_writes_them(config: ModuleType, words: str, text: str) -> None:
    assert config.address(words) == text


def test_a_port_answers_only_while_somebody_takes_connections(config: ModuleType, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert config.answers(port) is True
    listener.close()
    assert config.answers(port) is False


def test_silent_ports_are_named_and_answering_ones_are_not(config: ModuleType, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # held, so that nobody else can listen there meanwhile
        silent = bound.getsockname()[1]
        with pytest.raises(Ended) as ended:
            config.wait(Fake(answering=[port, silent], timeout=0))
    assert f"port {silent} after" in str(ended.value.answer["msg"])
