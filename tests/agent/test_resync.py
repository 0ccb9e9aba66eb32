"""What gets lost between UEM and Sentry, in either way, on real processes: the next resync makes the lists equal."""

import contextlib
import random
import ssl
from http.client import HTTPSConnection

import msgspec
import pytest

from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey, Record, State
from sentry_runtime.devices.store import Writer
from sentry_runtime.tls import client_context
from sentry_runtime.uem import digests
from sentry_runtime.uem.api import BucketPage, Decision, Digests
from tests.agent.conftest import MakeStage
from tests.agent.lossy import between
from tests.agent.stage import Stage
from tests.agent.test_outages import set_state
from tests.agent.test_ports import call, push

SEED = 5
ANNA, BERT, CARL = (DeviceKey(f"C{number}", f"{name}@lab.test") for number, name in enumerate(("anna", "bert", "carl")))


def known(stage: Stage) -> dict[DeviceKey, tuple[State, int]]:
    """What the UEM says."""
    listed = control.call(stage.paths.uem_admin, control.ListRegistered(limit=1_000), list[Decision])
    return {DeviceKey(one.device_id, one.principal): (one.state, one.version) for one in listed}


def held(stage: Stage) -> dict[DeviceKey, tuple[State, int]]:
    """What the device list says."""
    records = control.call(stage.paths.agent_socket, control.ListDevices(limit=1_000), list[Record])
    return {one.key: (one.state, one.version) for one in records}


@pytest.mark.shows("core resync state")
def test_with_thirty_percent_of_the_pushes_dropped_the_lists_are_equal_after_the_resync(make_stage: MakeStage) -> None:
    """The UEM believes that all of them arrived. While they are being lost no resync is due; the next one has all."""
    stage = make_stage(resync_seconds=3_600.0)
    draw = random.Random(SEED)  # noqa: S311 - which changes, not a secret
    keys = [DeviceKey(f"D{number}", f"user{number % 10}@lab.test") for number in range(40)]
    with between(stage, 0.3, SEED) as lossy:
        assert stage.settings.uem_server is not None
        server = msgspec.structs.replace(
            stage.settings.uem_server, push_url=f"https://127.0.0.1:{lossy.server_address[1]}"
        )
        stage.settings = msgspec.structs.replace(stage.settings, uem_server=server)
        stage.uem()
        agent = stage.agent()
        for _ in range(120):
            key = draw.choice(keys)
            if draw.random() < 0.2 and key in known(stage):
                control.call(stage.paths.uem_admin, control.Remove(device_id=key.device_id, principal=key.principal))
            else:
                set_state(stage, key, draw.choice([State.ALLOWED, State.BLOCKED]))
        stage.wait(lambda: control.call(stage.paths.uem_admin, control.Status())["pushes_pending"] == 0)
        assert lossy.lost > 10
        assert lossy.passed > 10
        assert held(stage) != known(stage)
        agent.terminate()
        stage.agent()  # its start is a resync
        stage.wait(lambda: stage.status()["digests"] == "equal")
    assert held(stage) == known(stage)


def tampered(stage: Stage) -> None:
    """What was lost under versions that the cursor has passed: the list has one that is gone, lacks one, mistakes one."""
    with contextlib.closing(Writer(stage.paths.devices)) as store:
        anna = store.get(ANNA)
        assert anna is not None
        store.put(
            [
                msgspec.structs.replace(anna, state=State.ALLOWED, reasons=()),
                Record(key=DeviceKey("GONE", "x"), state=State.ALLOWED, version=1),
            ]
        )
        store.remove([BERT])


@pytest.mark.shows("core resync state")
def test_what_the_feed_cannot_repair_the_digests_do_in_both_ways(make_stage: MakeStage) -> None:
    """An entry that the UEM has not, one that only the UEM has, one that says something else under the same version."""
    stage = make_stage()
    stage.uem()
    agent = stage.agent()
    for key, state in ((ANNA, State.BLOCKED), (BERT, State.BLOCKED), (CARL, State.ALLOWED)):
        set_state(stage, key, state)
    stage.wait(lambda: stage.status()["devices"] == 3)
    agent.terminate()
    agent = stage.agent()
    stage.wait(lambda: stage.status()["digests"] == "equal")  # a round has been, so the cursor has passed all of them
    agent.terminate()
    tampered(stage)
    with stage.audit() as trail:
        stage.agent()
        line = trail.until("device_list_repaired")[-1]
    assert line["count"] == 3
    assert held(stage) == known(stage)
    assert (stage.status()["digests"], stage.status()["repaired"]) == ("repaired", 3)


def test_pushes_that_overtake_each_other_and_come_twice_end_in_the_same_list(stage: Stage) -> None:
    """Every order ends with each device's highest version."""
    stage.agent()
    said = [
        {"device_id": key.device_id, "principal": key.principal, "state": state, "version": version}
        for version, (key, state) in enumerate(
            [(ANNA, "allowed"), (BERT, "blocked"), (ANNA, "blocked"), (CARL, "allowed"), (BERT, "allowed")], 1
        )
    ]
    said.append({**said[3], "version": 6, "removed": True})
    draw = random.Random(SEED)  # noqa: S311 - an order, not a secret
    sent = said * 3
    draw.shuffle(sent)
    for word in sent:
        assert push(stage, word)[0] == 204
    assert held(stage) == {ANNA: (State.BLOCKED, 3), BERT: (State.ALLOWED, 5)}


def test_a_comparison_of_equal_lists_is_one_short_answer(stage: Stage) -> None:
    """Whoever asks with the right root gets it back; whoever does not, all buckets."""
    stage.uem()
    set_state(stage, ANNA, State.ALLOWED)
    status, body = call(stage.pki, "agent", stage.uem_port, "GET", "/v1/digests")
    full = msgspec.json.decode(body, type=Digests)
    assert (status, len(full.buckets)) == (200, digests.BUCKETS)
    assert len(body) < 100_000
    status, body = call(stage.pki, "agent", stage.uem_port, "GET", f"/v1/digests?root={full.root}")
    assert (status, len(msgspec.json.decode(body, type=Digests).buckets)) == (200, 0)
    assert len(body) < 200
    number = digests.bucket_of(*(ANNA.device_id, ANNA.principal))
    status, body = call(stage.pki, "agent", stage.uem_port, "GET", f"/v1/buckets/{number}")
    page = msgspec.json.decode(body, type=BucketPage)
    assert [one.device_id for one in page.decisions] == ["C0"]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/v1/digests?root=5", "`root`"),
        (f"/v1/digests?root={'A' * 64}", "`root`"),
        ("/v1/buckets/1024", "`bucket` is 0 to 1023"),
        ("/v1/buckets/x", "`bucket`"),
        ("/v1/buckets/1?after=-1", "`after`"),
        ("/v1/buckets/1?limit=0", "`limit`"),
    ],
)
def test_what_is_no_question_is_refused(stage: Stage, path: str, place: str) -> None:
    """With the field named."""
    stage.uem()
    status, body = call(stage.pki, "agent", stage.uem_port, "GET", path)
    assert status == 400
    assert place in msgspec.json.decode(body, type=dict[str, str])["detail"]


def test_the_list_is_persisted_by_command_and_at_the_end(stage: Stage) -> None:
    """The answer says how many entries there are and what they take on the disk; only the management may ask."""
    stage.uem()
    agent = stage.agent()
    set_state(stage, ANNA, State.ALLOWED)
    stage.wait(lambda: stage.status()["devices"] == 1)
    before = stage.status()["persisted"]
    persisted = control.call(stage.paths.agent_socket, control.Persist(), control.Persisted)
    assert persisted.devices == 1
    assert persisted.bytes >= 8_192
    assert stage.status()["persisted"] == before + 1
    assert agent.terminate() == 0
    with contextlib.closing(Writer(stage.paths.devices)) as store:
        assert store.get(ANNA) is not None


def test_the_links_state_can_be_seen(make_stage: MakeStage) -> None:
    """Up, and how long; down, why, and when it is tried again."""
    stage = make_stage()
    stage.agent()
    stage.wait(lambda: stage.status()["link"] == "down")
    status = stage.status()
    assert "Connect call failed" in status["link_problem"]
    assert 0 <= status["link_retry_seconds"] <= 30
    stage.uem()
    stage.wait(lambda: stage.status()["link"] == "up" and not stage.status()["link_problem"])
    assert stage.status()["link_retry_seconds"] == 0


def test_who_has_no_certificate_of_ours_gets_no_digests(stage: Stage) -> None:
    """As with every other question."""
    stage.uem()
    peer = HTTPSConnection("127.0.0.1", stage.uem_port, context=client_context(stage.pki.client("stranger")), timeout=9)
    with contextlib.closing(peer), pytest.raises((ssl.SSLError, ConnectionError)):
        peer.connect()
