"""Where servers are: waited for in bounds, looked up by one at a time."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from appliance.directory.names import Names

from .conftest import no_threads

PATIENCE_SECONDS = 30.0


class NameServer:
    """What answers when it is told to, and counts how often it is asked."""

    def __init__(self, *answers: list[str] | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.answering = threading.Event()

    def __call__(self, _host: str, _port: None, **_: Any) -> list[tuple[Any, ...]]:
        self.asked += 1
        assert self.answering.wait(PATIENCE_SECONDS)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 0)) for one in answer]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "2001:db8::7"])
def test_an_address_is_what_it_is_and_nobody_is_asked(address: str) -> None:
    nobody = NameServer()
    assert Names(nobody).addresses(address, 0.0) == (address,)
    assert nobody.asked == 0


def test_a_name_has_its_addresses_in_their_order_each_once() -> None:
    server = NameServer(["192.0.2.2", "192.0.2.1", "192.0.2.2"])
    server.answering.set()
    assert Names(server).addresses("dc1.lab.test", PATIENCE_SECONDS) == ("192.0.2.2", "192.0.2.1")


def test_many_who_ask_at_one_time_have_one_answer_and_who_asks_later_another() -> None:
    server = NameServer(["192.0.2.1"], ["192.0.2.2"])
    names = Names(server)
    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(names.addresses, "dc1.lab.test", PATIENCE_SECONDS) for _ in range(8)]
        with pytest.raises(TimeoutError, match=r"no name server gives the address of dc1\.lab\.test in time"):
            names.addresses("dc1.lab.test", 0.0)
        while sum(one.running() for one in asking) < 8:
            pass
        server.answering.set()
        said = {one.result(PATIENCE_SECONDS) for one in asking}
    assert said <= {("192.0.2.1",), ("192.0.2.2",)}
    assert server.asked <= 2
    server.answers = [["192.0.2.3"]]
    assert names.addresses("dc1.lab.test", PATIENCE_SECONDS) == ("192.0.2.3",)


def test_what_keeps_a_name_from_being_looked_up_is_said_and_does_not_last() -> None:
    server = NameServer(socket.gaierror(socket.EAI_NONAME, "Name or service not known"), ["192.0.2.1"])
    server.answering.set()
    names = Names(server)
    with pytest.raises(socket.gaierror, match="not known"):
        names.addresses("dc1.lab.test", PATIENCE_SECONDS)
    assert names.addresses("dc1.lab.test", PATIENCE_SECONDS) == ("192.0.2.1",)


def test_where_no_thread_can_be_started_that_is_said_and_does_not_last() -> None:
    server = NameServer(["192.0.2.1"])
    server.answering.set()
    names = Names(server)
    with no_threads(), pytest.raises(OSError, match=r"dc1\.lab\.test cannot be looked up: can't start new thread"):
        names.addresses("dc1.lab.test", PATIENCE_SECONDS)
    assert names.addresses("dc1.lab.test", PATIENCE_SECONDS) == ("192.0.2.1",)
