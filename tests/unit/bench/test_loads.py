"""What is asked, by whom, and what the tools say of it."""

import base64
from collections import Counter

import pytest

from tests.bench import backend, clients, decision, h2load, phones, wrk
from tests.bench.contestants import workers_of
from tests.bench.growth import mix
from tests.bench.measures.requests import spread
from tests.bench.program import ProgramError
from tests.bench.table import MEASURES


def test_a_request_names_its_device_and_proves_its_user() -> None:
    head = phones.known(7).head("Sync", 200)
    first, *lines = head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines if line)
    assert "DeviceId=KNOWN0000007" in first
    assert fields["Content-Length"] == "200"
    assert base64.b64decode(fields["Authorization"].removeprefix("Basic ")).startswith(b"user0000007@lab.test:")
    assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("length", [3, 10, 70, 1_024])
def test_an_answer_has_the_length_that_is_asked_for(length: int) -> None:
    head, _, body = backend.response(length).partition(b"\r\n\r\n")
    assert len(body) == length
    assert f"Content-Length: {length}".encode() in head
    assert backend.MARK in head


def test_lua_gets_every_byte() -> None:
    assert wrk.lua(b'GET "a\\b"\r\n\x00\xff') == '"GET \\034a\\092b\\034\\013\\010\\000\\255"'


def test_each_connection_has_a_device_of_its_own() -> None:
    load = wrk.Load([phones.known(number) for number in range(wrk.CONNECTIONS)])
    assert load.thread_count == load.connections == 64
    assert wrk.script(load).count("POST /Microsoft-Server-ActiveSync") == 64
    assert "for index = number + 1, #heads, 64 do" in wrk.script(load)


def test_what_wrk_says_at_the_end_is_read() -> None:
    outcome = wrk.parse('Running 600s test\n{"requests":1200,"seconds":4.000000,"refused":1,"failed":2}\n')
    assert (outcome.requests, outcome.refused, outcome.failed, outcome.rate) == (1_200, 1, 2, 300.0)
    with pytest.raises(ProgramError, match="unable to connect"):
        wrk.parse("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_the_times_of_the_first_second_do_not_count() -> None:
    log = "5000000\t200\t900000\n5500000\t200\t800000\n6000000\t200\t1500\n7000000\t200\t2500\n"
    assert h2load.times(log, begin_seconds=1.0) == [0.0015, 0.0025]


@pytest.mark.parametrize("log", ["", "5000000\t403\t1000\n", "5000000\t-1\t1000\n"])
def test_a_request_that_fails_makes_the_times_worthless(log: str) -> None:
    with pytest.raises(ProgramError, match="have no 200"):
        h2load.times(log)


def test_of_a_hundred_the_slowest_but_one_is_below_the_99th_part() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert h2load.quantile(values, 0.99) == 100.0
    assert h2load.quantile(values, 0.5) == 51.0
    assert h2load.quantile([3.0], 0.99) == 3.0


@pytest.mark.parametrize(("share", "strangers"), [(0.0, 0), (0.02, 20), (0.25, 250), (0.5, 500)])
def test_a_mix_has_its_share_of_strangers_evenly(share: float, strangers: int) -> None:
    asked = mix(share, 1_000)
    counted = Counter(asked)
    assert counted[phones.known(0)] == 1_000 - strangers
    assert max((count for phone, count in counted.items() if phone != phones.known(0)), default=1) == 1
    assert abs(sum(phone != phones.known(0) for phone in asked[:500]) - strangers / 2) <= 1


def test_the_decision_service_lets_the_listed_pass() -> None:
    allowed = decision.entries(b"KNOWN1|anna@lab.test allow\nKNOWN2|ben@lab.test allow\n")

    def asks(entry: str) -> bytes:
        return decision.verdict(f"GET /decide HTTP/1.1\r\nHost: decision\r\nX-Entry: {entry}\r\n\r\n".encode(), allowed)

    assert asks("KNOWN2|ben@lab.test").startswith(b"HTTP/1.1 204 ")
    assert asks("KNOWN2|anna@lab.test").startswith(b"HTTP/1.1 403 ")
    assert asks("").startswith(b"HTTP/1.1 403 ")


def test_the_status_of_an_answer_is_read() -> None:
    assert clients.status(b"HTTP/1.1 449 Retry\r\n\r\n") == 449
    with pytest.raises(clients.UnexpectedAnswerError, match="an HTTP response is expected"):
        clients.status(b"")


def test_a_response_is_complete_with_its_body() -> None:
    whole = backend.response(70)
    assert [length for length in range(len(whole) + 1) if clients.complete(whole[:length])] == [len(whole)]
    assert clients.complete(b"HTTP/1.1 204 No Content\r\n\r\n")


def test_no_address_has_more_connections_than_the_gateway_takes() -> None:
    assert max(Counter(map(clients.source, range(8_000))).values()) <= 1_500


@pytest.mark.parametrize(("connections", "part"), [([0, 64, 64], 0.5), ([96, 32], 0.75), ([128], 1.0), ([], 0.0)])
def test_the_spread_is_of_the_two_that_work(connections: list[int], part: float) -> None:
    assert spread(connections) == part


def test_only_the_measure_of_workers_has_two() -> None:
    assert {(one.name, workers_of(one, "ours")) for one in MEASURES if workers_of(one, "ours") != 1} == {("workers", 2)}
    assert all(workers_of(one, "one_worker") == 1 for one in MEASURES)
