"""Hostile WBXML: each body costs one 400 and no memory, also hundreds of them, and no backend hears of it."""

from collections.abc import Iterator

from sentry_runtime.devices.record import State
from sentry_runtime.eas.codepages import SETTINGS
from sentry_runtime.eas.device_information import write
from sentry_runtime.eas.provision import BYTES
from sentry_runtime.eas.wbxml import HEADER, element, encode
from tests.gateway.stand import PHONE, WBXML, Device, post
from tests.gateway.test_provisioning import SAYS, MakeProvisioner, provisioner
from tests.gateway.test_streams import MEGABYTE, resident

__all__ = ["provisioner"]  # the fixture

WARM, ROUNDS = 10, 30
GROWTH_BYTES = 4 * MEGABYTE
PROVISION = HEADER + b"\x00\x0e\x45"
SPACE = BYTES - len(PROVISION) - 8

# What is said to be there is more than any memory holds, or more than the gateway reads; all of it fits into one body.
HOSTILE = {
    "nested as deep as it goes": PROVISION + b"\x46" * SPACE,
    "nested beyond the bound and closed": PROVISION + b"\x46" * 1_000 + b"\x01" * 1_001,
    "as many empty elements as fit": PROVISION + b"\x06" * SPACE,
    "page switches without end": PROVISION + b"\x00\x0e" * (SPACE // 2),
    "pages that nobody has": PROVISION + b"\x00\xff\x45\x00\xfe\x46" * (SPACE // 6),
    "opaque bytes that say 4 GB": PROVISION + b"\xc3\x8f\xff\xff\xff\x7f" + b"x" * 100,
    "a length without end": PROVISION + b"\xc3" + b"\xff" * SPACE,
    "a text without end": PROVISION + b"\x03" + b"x" * SPACE,
    "a text that is not UTF-8": PROVISION + b"\x03" + b"\xff" * 100 + b"\x00\x01",
    "many texts": PROVISION + b"\x03x\x00" * (SPACE // 3),
    "a string table": b"\x03\x01\x6a\xff\xff\xff\x7f" + b"x" * 100,
    "attributes": PROVISION + b"\xc5\x05\x01\x01",
    "an entity": PROVISION + b"\x02\x81\x20\x01",
    "processing instructions": HEADER + b"\x43\x05\x01\x45\x01",
    "ends without a beginning": HEADER + b"\x01" * SPACE,
    "a second document": PROVISION + b"\x01" + PROVISION + b"\x01",
    "nothing but the header": HEADER,
    "zeros": bytes(BYTES),
    "XML": b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]><Provision>&b;</Provision>",
}


def requests() -> Iterator[tuple[str, bytes]]:
    """Each of them as a Provision."""
    for name, body in HOSTILE.items():
        assert len(body) <= BYTES
        yield name, post("Provision", body)


async def flood(device: Device) -> None:
    """All of them, one after the other on one connection."""
    for name, request in requests():
        answer = await device.ask(request)
        assert (name, answer.status, answer.body) == (name, 400, b"")


async def test_hostile_documents_cost_one_400_each_and_no_memory(provisioner: MakeProvisioner) -> None:
    """A worker is no larger after hundreds of them than after the first few."""
    stand = await provisioner(throttle=None)
    (worker,) = stand.workers()
    device = await stand.device()
    before, outcomes = 0, []
    for number in range(WARM + ROUNDS):
        await flood(device)
        outcomes = await stand.audit.outcomes((number + 1) * len(HOSTILE))  # else the worker keeps the lines
        before = before if number >= WARM else resident(worker)
    assert resident(worker) - before < GROWTH_BYTES
    assert stand.backend.seen == []
    assert {tuple(one["reasons"]) for one in outcomes} == {("provision_malformed",)}
    assert stand.workers() == [worker]


async def test_hostile_documents_that_are_only_overheard_pass_and_cost_no_memory(provisioner: MakeProvisioner) -> None:
    """A Settings request is the backend's to judge: it gets every byte, and of the device nothing is believed."""
    stand = await provisioner(policy=None, throttle=None)
    (worker,) = stand.workers()
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await stand.device()

    async def pass_all() -> None:
        for body in HOSTILE.values():
            assert (await device.ask(post("Settings", body, version="12.1"))).status == 200
            assert stand.backend.seen.pop().body == body

    before = 0
    for number in range(WARM + ROUNDS):
        await pass_all()
        await stand.audit.outcomes((number + 1) * len(HOSTILE))
        before = before if number >= WARM else resident(worker)
    assert resident(worker) - before < GROWTH_BYTES
    assert stand.agent.described == []
    good = encode(element(SETTINGS, "Settings", write(SAYS)))
    request = post("Settings", good, version="12.1")
    assert WBXML.encode() in request
    assert (await device.ask(request)).status == 200
