"""The ACME service with a real ACME server: certificates, bound accounts, and all that goes wrong on the way."""

import asyncio
import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509

from appliance import chains
from appliance.acme import api
from appliance.acme.keep import KEY, Keep
from appliance.acme.orders import FIRST_TRY, LONGEST_HOLD, State
from appliance.acme.service import WANTED_SECONDS, Service, StuckError
from appliance.acme.settings import Binding, Settings
from appliance.state_file import BAD, NAME
from sentry_runtime import control
from tests.acme_server import BINDING_ID, BINDING_KEY, AcmeServer, serving
from tests.device_pki import DevicePki
from tests.ports import free_port

from .conftest import HOST, NOON, request, settings_of
from .grumpy import Grumpy, grumbling

PATIENCE = 30.0


@dataclass
class Wall:
    """A clock that goes on when told."""

    now: float = NOON

    def __call__(self) -> float:
        return self.now


class Bench:
    """A service over a folder; `restart` is what a crash and a new process make of it."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings, self.wall = folder, settings, Wall()
        self.restart()

    def restart(self, **settings: Any) -> None:
        self.settings = msgspec.structs.replace(self.settings, **settings)
        self.clock = Wall(0.0)
        self.service = Service(
            self.settings, Keep(self.folder), wall=self.wall, clock=self.clock, attempt_seconds=PATIENCE
        )

    def say(self, asked: api.Ask) -> Any:
        return asyncio.run(self.service.answer(asked))

    def obtain(self, asked: str, service: str = "portal") -> api.Standing:
        said = self.say(api.Obtain(service=service, request=asked))
        assert isinstance(said, api.Standing)
        return said

    def attempt(self, asked: str, service: str = "portal") -> api.Standing:
        """Ask, have what is due tried, and ask again."""
        self.obtain(asked, service)
        asyncio.run(self.service.look())
        return self.obtain(asked, service)

    def report(self) -> api.Report:
        said = self.say(api.Status())
        assert isinstance(said, api.Report)
        return said


@pytest.fixture
def bench(tmp_path: Path, settings: Settings) -> Bench:
    return Bench(tmp_path, settings)


def log_of(server: AcmeServer) -> str:
    return server.log.read_text()


# --- what goes well ------------------------------------------------------------------------------------------------


def test_a_certificate_for_a_request_comes_with_what_leads_to_the_root(bench: Bench, server: AcmeServer) -> None:
    asked = request(HOST, "www.example.test")
    assert bench.obtain(asked) == api.Standing(state="waits")
    said = bench.attempt(asked)
    assert (said.state, said.problem, said.tries) == ("ready", "", 0)
    chain = chains.up_to(said.chain, server.root())
    assert not list(chains.flaws(chain, (HOST, "www.example.test")))
    assert chains.key_name(chain[0].public_key()) == chains.name_of_request(asked)


def test_the_account_is_made_once_and_its_key_is_the_process_s_alone(bench: Bench, server: AcmeServer) -> None:
    bench.attempt(request())
    account = bench.report().account
    assert account.startswith(server.directory.rpartition("/")[0])
    key = (bench.folder / KEY).read_bytes()
    assert stat.S_IMODE((bench.folder / KEY).stat().st_mode) == 0o600
    bench.restart()
    assert bench.attempt(request(), "gateway").state == "ready"
    assert (bench.report().account, (bench.folder / KEY).read_bytes()) == (account, key)


def test_another_contact_is_told_to_the_account_that_there_is(bench: Bench) -> None:
    bench.attempt(request())
    account = bench.report().account
    bench.restart(contacts=("other@example.test",))
    assert bench.report().account == ""
    assert bench.attempt(request()).state == "ready"
    assert bench.report().account == account


def test_what_was_taken_over_is_gone_and_another_request_is_another_order(bench: Bench) -> None:
    asked = request()
    first = bench.attempt(asked)
    assert bench.attempt(asked).chain == first.chain  # until it is judged
    bench.say(api.Judge(service="portal"))
    assert bench.report().orders == {}
    second = bench.attempt(request())
    assert second.state == "ready"
    assert second.chain != first.chain


def test_a_refused_chain_is_a_failed_attempt(bench: Bench) -> None:
    asked = request()
    bench.attempt(asked)
    bench.say(api.Judge(service="portal", problem="found nonsense"))
    said = bench.attempt(asked)
    assert (said.state, said.chain, said.problem, said.tries) == ("waits", "", "found nonsense", 1)
    assert said.next_try == bench.wall.now + FIRST_TRY
    bench.wall.now += FIRST_TRY
    assert bench.attempt(asked).state == "ready"


def test_a_bound_account(pki: DevicePki, tmp_path: Path) -> None:
    secret = tmp_path / "binding.secret"
    secret.write_text(BINDING_KEY)
    (tmp_path / "state").mkdir()
    with serving(tmp_path / "pebble", pki.pair("acme"), Path(pki.path("company")), bound=True) as server:
        bench = Bench(tmp_path / "state", settings_of(server))
        asked = request()
        assert "set certificates.acme.binding" in bench.attempt(asked).problem
        bench.restart(binding=Binding(key_id="nobody", key_path=str(secret)))
        assert bench.attempt(asked).problem.startswith("unauthorized: ")
        bench.restart(binding=Binding(key_id=BINDING_ID, key_path=str(tmp_path / "none")))
        assert "the binding's key cannot be read" in bench.attempt(asked).problem
        bench.restart(binding=Binding(key_id=BINDING_ID, key_path=str(secret)))
        assert bench.attempt(asked).state == "ready"


def test_a_server_that_rejects_nonces_is_asked_once_more(pki: DevicePki, tmp_path: Path) -> None:
    """RFC 8555 6.5: with the nonce that came with the refusal. One that rejects that, too, is tried later."""
    (tmp_path / "state").mkdir()
    with serving(tmp_path / "pebble", pki.pair("acme"), Path(pki.path("company")), nonces_rejected=100) as server:
        bench = Bench(tmp_path / "state", settings_of(server))
        assert bench.attempt(request()).problem.startswith("badNonce: ")
        assert log_of(server).count("POST /sign-me-up") == 2


# --- what goes wrong -----------------------------------------------------------------------------------------------


def test_terms_that_nobody_agreed_to(bench: Bench) -> None:
    bench.restart(terms_agreed=False)
    said = bench.attempt(request()).problem
    assert said.startswith("the server asks for agreement to ")
    assert "certificates.acme.terms_agreed" in said


def test_a_server_that_is_away_is_tried_later_and_later(bench: Bench) -> None:
    port = free_port()
    bench.restart(directory=f"https://127.0.0.1:{port}/dir")
    asked, waits = request(), []
    for _ in range(7):
        said = bench.attempt(asked)
        assert "refused" in said.problem
        waits.append(said.next_try - bench.wall.now)
        assert bench.attempt(asked).tries == said.tries  # not before it is time
        bench.wall.now = said.next_try
    assert waits == [120, 240, 480, 960, 1_920, 3_600, 3_600]


@pytest.mark.parametrize(
    ("shown", "words"),
    [("stranger", "certificate"), ("elsewhere", "127.0.0.1")],
    ids=["of an authority that is not believed", "for another name"],
)
def test_a_server_with_a_certificate_that_is_not_believed(
    shown: str, words: str, pki: DevicePki, tmp_path: Path, server: AcmeServer
) -> None:
    if shown == "stranger":
        bench = Bench(tmp_path, settings_of(server, trust=pki.path("stranger")))
        said = bench.attempt(request()).problem
    else:
        with grumbling(pki.pair("elsewhere")) as other:
            bench = Bench(tmp_path, settings_of(server, directory=other.directory))
            said = bench.attempt(request()).problem
            assert other.asked == []
    assert said.startswith("the server's TLS is refused: ")
    assert words in said
    assert bench.report().account == ""


def test_a_proof_that_cannot_be_fetched(bench: Bench) -> None:
    """Port 80 does not come through: here the server looks at another port than we listen on."""
    bench.restart(port=free_port())
    said = bench.attempt(request())
    assert said.problem.startswith(f"{HOST} is not proven: connection: ")
    assert said.next_try > bench.wall.now


def test_a_port_that_somebody_else_has(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", bench.settings.port)):
        said = bench.attempt(request()).problem
    assert said.startswith(f"port {bench.settings.port} cannot be listened on: ")


def test_what_configd_asks_for_no_more_is_not_tried(bench: Bench) -> None:
    """A place that has its certificate from elsewhere now, or a configd that is not there."""
    bench.obtain(request())
    bench.clock.now += WANTED_SECONDS
    asyncio.run(bench.service.look())
    assert bench.report().orders["portal"] == api.Standing(state="waits")


def test_nobody_listens_when_nothing_is_proved(bench: Bench) -> None:
    bench.attempt(request())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", bench.settings.port)).close()


def test_a_request_that_the_server_does_not_take(bench: Bench) -> None:
    said = bench.attempt(request("under_score.example.test"))
    assert said.state == "waits"
    assert said.problem


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("1800", 1_800.0), ("999999999", LONGEST_HOLD), ("", 0.0)],
    ids=["half an hour", "ages", "not said"],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_asks_to_be_left_alone_is(
    status: int, header: str, seconds: float, pki: DevicePki, bench: Bench
) -> None:
    """Retry-After holds all orders back, new ones too, and a restart does not shorten it."""
    with grumbling(pki.pair("acme"), Grumpy(status=status, retry_after=header)) as server:
        bench.restart(directory=server.directory)
        said = bench.attempt(request())
        assert "too many" in said.problem
        assert said.next_try == bench.wall.now + max(FIRST_TRY, seconds)
        asked = len(server.asked)
        bench.restart()
        other = bench.attempt(request(), "gateway")
        assert len(server.asked) == (asked if seconds else asked + 1)
        assert other.next_try == bench.wall.now + (seconds or FIRST_TRY)


@pytest.mark.parametrize(
    ("grumpy", "words"),
    [
        (Grumpy(status=302, location="https://127.0.0.1:1/dir"), "leads elsewhere"),
        (Grumpy(status=200, body=b"[1, 2"), "RFC 8555"),
        (Grumpy(status=200, body=b'{"newNonce": 7}'), ""),
        (Grumpy(status=200, body=b"[]"), "RFC 8555"),
        (Grumpy(status=200, body=b" " * 300_000), "longer than"),
        (Grumpy(status=404, body=b"not here", kind="text/plain"), "404"),
        (Grumpy(status=400, body=b'{"type": "x", "detail": "line one\\nline two \\u001b[31m"}'), "line one line two"),
    ],
    ids=["redirection", "no JSON", "nonsense", "a list", "endless", "no directory", "words for a screen"],
)
def test_a_server_that_talks_nonsense(grumpy: Grumpy, words: str, pki: DevicePki, bench: Bench) -> None:
    with grumbling(pki.pair("acme"), grumpy) as server:
        bench.restart(directory=server.directory)
        said = bench.attempt(request())
    assert said.state == "waits"
    assert said.problem
    assert words in said.problem
    assert said.problem.isprintable()
    assert len(said.problem) <= api.WORDS_CHARACTERS


def test_an_attempt_that_does_not_end_ends_the_process(pki: DevicePki, bench: Bench) -> None:
    """systemd starts it again, and the failure is remembered."""
    with grumbling(pki.pair("acme"), Grumpy(silent=True)) as server:
        bench.restart(directory=server.directory)
        bench.service._attempt_seconds = 0.5
        with pytest.raises(StuckError):
            bench.attempt(request())
        bench.restart()
        assert [one.problem for one in bench.report().orders.values()] == ["no end within 0 seconds"]


def test_more_orders_than_there_are_services_are_not_taken(bench: Bench) -> None:
    for name in "abcdefgh":
        assert bench.obtain(request(), name).problem == ""
    assert bench.obtain(request(), "i").problem == "too many orders"


# --- what outlives the process -------------------------------------------------------------------------------------


def test_an_order_whose_request_was_sent_is_fetched_and_not_made_anew(bench: Bench, server: AcmeServer) -> None:
    """Killed between the request and its answer: the certificate exists, and public authorities count them."""
    asked = request()
    bench.obtain(asked)
    seen: list[str] = []
    save = bench.service._keep.save

    def dies(state: State) -> None:
        save(state)
        seen[:] = [order.finalizing for order in state.orders.values() if order.finalizing]

    bench.service._keep.save = dies  # type: ignore[method-assign]
    first = bench.attempt(asked)
    assert first.state == "ready"
    assert len(seen) == 0  # it is forgotten with the certificate
    state = Keep(bench.folder).load()
    order = state.orders["portal"]
    orders = log_of(server).count("POST /order-plz")
    order.chain, order.finalizing = "", _order_url(server)
    Keep(bench.folder).save(state)
    bench.restart()
    bench.wall.now += FIRST_TRY
    assert bench.attempt(asked).chain == first.chain
    assert log_of(server).count("POST /order-plz") == orders


def _order_url(server: AcmeServer) -> str:
    made = [line for line in log_of(server).splitlines() if "Added order" in line][-1].split('"')[1]
    return f"{server.directory.rpartition('/')[0]}/my-order/{made}"


def test_an_order_of_before_that_is_gone_is_made_anew(bench: Bench, server: AcmeServer) -> None:
    asked = request()
    bench.obtain(asked)
    state = Keep(bench.folder).load()
    state.orders["portal"].finalizing = f"{server.directory.rpartition('/')[0]}/my-order/none"
    Keep(bench.folder).save(state)
    bench.restart()
    assert bench.attempt(asked).state == "ready"


def test_an_account_that_the_server_forgot_is_made_anew(bench: Bench, server: AcmeServer) -> None:
    asked = request()
    bench.obtain(asked)
    state = Keep(bench.folder).load()
    state.account = f"{server.directory.rpartition('/')[0]}/my-account/4711"
    Keep(bench.folder).save(state)
    bench.restart()
    assert bench.attempt(asked).state == "ready"
    assert bench.report().account not in ("", state.account)


def test_other_settings_begin_anew(bench: Bench) -> None:
    bench.restart(directory=f"https://127.0.0.1:{free_port()}/dir")
    bench.attempt(request())
    assert bench.report().orders
    bench.restart(terms_agreed=False)
    assert bench.report().orders == {}


def test_a_damaged_state_is_put_aside(bench: Bench) -> None:
    (bench.folder / NAME).write_text("{")
    bench.restart()
    assert bench.report().orders == {}
    assert (bench.folder / BAD).read_text() == "{"
    assert bench.attempt(request()).state == "ready"


def test_an_account_s_key_that_is_none_is_said_and_not_replaced(bench: Bench) -> None:
    (bench.folder / KEY).write_text("nonsense")
    assert "the account's key" in bench.attempt(request()).problem
    assert (bench.folder / KEY).read_text() == "nonsense"


# --- the program ---------------------------------------------------------------------------------------------------


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


class Program:
    """`python -m appliance.acme`, as systemd starts it."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.socket, place = folder / "acme.sock", folder / "acme.json"
        place.write_bytes(msgspec.json.encode(settings))
        (folder / "state").mkdir(exist_ok=True)
        argv = [sys.executable, "-m", "appliance.acme", "--settings", str(place), "--socket", str(self.socket)]
        self.process = subprocess.Popen([*argv, "--state", str(folder / "state")])

    def answers(self) -> bool:
        """Whether it does: a killed predecessor leaves its socket's name."""
        try:
            self.call(api.Status(), api.Report)
        except control.ControlError:
            return False
        return True

    def call(self, asked: Any, kind: Any) -> Any:
        return control.call(self.socket, asked, kind)

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def running(folder: Path, settings: Settings) -> Iterator[Program]:
    """The program until the block ends, whatever happens in it."""
    program = Program(folder, settings)
    try:
        until(program.answers)
        yield program
    finally:
        program.process.kill()
        program.process.wait(PATIENCE)


@pytest.mark.skipif(os.getuid() != 0, reason="the socket answers root alone")
def test_the_program_killed_while_the_server_looks_goes_on_after_its_restart(
    tmp_path: Path, pki: DevicePki, settings: Settings
) -> None:
    """The failure of the killed attempt is no reason to hurry: it waits as after any failure, and SIGTERM ends it at once."""
    asked = request()
    obtain = api.Obtain(service="portal", request=asked)
    with contextlib.ExitStack() as over, grumbling(pki.pair("acme"), Grumpy(silent=True)) as server:
        silent = msgspec.structs.replace(settings, directory=server.directory)
        program = over.enter_context(running(tmp_path, silent))
        program.call(obtain, api.Standing)
        until(lambda: server.asked)
        assert program.call(obtain, api.Standing).state == "works"
        program.end(signal.SIGKILL)
        again = over.enter_context(running(tmp_path, silent))
        said = again.call(obtain, api.Standing)
        assert said.state == "waits"
        assert said.next_try > time.time() + FIRST_TRY / 2
        assert again.end(signal.SIGTERM) == 0
    with running(tmp_path, settings) as well:
        until(lambda: well.call(obtain, api.Standing).state == "ready")
        leaf = x509.load_pem_x509_certificates(well.call(obtain, api.Standing).chain.encode())[0]
        assert chains.key_name(leaf.public_key()) == chains.name_of_request(asked)
        assert well.end(signal.SIGTERM) == 0
