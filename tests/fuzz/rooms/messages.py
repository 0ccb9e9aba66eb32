"""JSON from the other end of a link: the UEM protocol in both directions, requests and answers on a control socket, and what a
worker says to the supervisor."""

from typing import Any

import msgspec

from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey, Reason, State, Wipe, WipeKind, WipeMark
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy
from sentry_runtime.eas.principal import Names
from sentry_runtime.gateway.decide import Excess
from sentry_runtime.gateway.desk import RedirectDesk
from sentry_runtime.gateway.redirects import Forgotten, Learned, Redirect
from sentry_runtime.gateway.reports import Standing, summed
from sentry_runtime.gateway.worker_channel import (
    ORDER_BYTES,
    Life,
    PacketError,
    Paused,
    read_news,
    read_packet,
)
from sentry_runtime.metrics import Counters
from sentry_runtime.uem import link, messages
from sentry_runtime.uem.api import Contact, Decision, DecisionPage, Information, Problem, Push, WipeReport
from tests.fuzz.target import Target, in_words, refused_in_order

KINDS: tuple[type[Any], ...] = (Contact, Decision, DecisionPage, Information, Push, WipeReport)


def uem(data: bytes) -> None:
    """A message of the UEM protocol, of whatever kind: what is taken is taken again, and has keys that are canonical."""
    for kind in KINDS:
        try:
            found = messages.decode(data, kind)
        except messages.MessageError:
            continue
        assert messages.decode(msgspec.json.encode(found), kind) == found
        decisions = getattr(found, "decisions", (found,))
        for one in decisions:
            assert messages.canonical(one.device_id, one.principal) == DeviceKey(one.device_id, one.principal)
        assert kind not in (DecisionPage, Push) or messages.that_fit(decisions) == decisions


def problem(data: bytes) -> None:
    """An error's body from the UEM, or from whatever stands in its place: an error of the link, with not too many words."""
    for status in (200, 503):
        try:
            link.read(status, data, Decision)
        except link.LinkRefusedError as error:
            refused_in_order(status == 200 or len(str(error)) < 1_200, error)


def requests(data: bytes) -> None:
    """A request on a control socket: refused in one way, or written again as it was read."""
    try:
        found = control.decode_request(data)
    except msgspec.MsgspecError:
        return
    assert control.decode_request(msgspec.json.encode(found)) == found


def answers(data: bytes) -> None:
    """What the agent says to a gateway: an answer, or news of the list; refused in one way, or written again as it was read."""
    for decode in (control.decode_answer, control.decode_news):
        try:
            found = decode(data)
        except msgspec.MsgspecError:
            continue
        assert decode(msgspec.json.encode(found)) == found


def packets(data: bytes) -> None:
    """A packet of a worker's: refused in one way, or nothing that the supervisor, its status or another worker falls over."""
    try:
        found = read_packet(data)
    except PacketError as error:
        in_words(error)
        return
    if isinstance(found, Life):
        total = Counters()
        for _ in range(64):  # workers
            total.add(found.counters)
        views = summed(("mail0", "mail1"), [found.backends, found.backends])
        assert control.answer({name: getattr(total, name) for name in total.__struct_fields__} | views)
        assert control.answer([(one.device, one.excess, one.seconds) for one in found.throttled])
        return
    order = msgspec.json.encode(found)
    assert len(order) <= ORDER_BYTES
    assert read_news(order) == found
    desk = RedirectDesk(lambda _news: None, Names, now=lambda: 0.0)
    desk.known.apply(found)
    assert control.decode_answer(desk.serve(control.ListRedirects())).error is None


def _messages() -> list[bytes]:
    order = Wipe(kind=WipeKind.DEVICE, order=3, marks=(WipeMark.HANDED_OUT,), by="bea")
    allowed = Decision(
        device_id="PHONE", principal="anna@lab.test", state=State.ALLOWED, version=4, policy=Policy(allow_camera=False)
    )
    blocked = Decision(
        device_id="ÄB", principal="bert", state=State.BLOCKED, version=5, reasons=(Reason.OS_VERSION,), note="n"
    )
    wiped = Decision(device_id="C", principal="a", state=State.WIPE_PENDING, version=6, wipe=order)
    contact = Contact(device_id="PHONE", device_aliases=("50484F4E45",), principal="anna", device_type="iPhone", seen=1)
    says = Information(device_id="PHONE", principal="anna", information=DeviceInformation(model="x"))
    page = DecisionPage(decisions=(allowed, blocked, wiped), next=6, more=True)
    report = WipeReport(device_id="PHONE", principal="anna", wipe=order)
    whole = (contact, allowed, blocked, wiped, page, says, Push(decisions=(wiped,)), report)
    return [*(msgspec.json.encode(one) for one in whole), b'{"device_id":"\xff"}', b'{"version":1e999}']


def _requests() -> list[bytes]:
    key = DeviceKey("PHONE", "anna")
    asked = (
        control.Ask(key=key, aliases=("X",), device_type="iPhone"),
        control.CheckCertificate(certificate=b"\x30\x00"),
        control.CheckAdministrator(certificate=b"\x30\x00"),
        control.MarkWipe(key=key, order=3, mark=WipeMark.FAILED),
        control.Status(),
    )
    return [*(msgspec.json.encode(one) for one in asked), b'{"do":"\xff"}', b'{"do":"ask","key":["a"]}']


def _answers() -> list[bytes]:
    key = DeviceKey("PHONE", "anna")
    news = (control.Changed(keys=(key, key)), control.CertificatesChanged())
    return [
        *(msgspec.json.encode(one) for one in news),
        control.answer({"key": key, "state": State.ALLOWED}),
        control.answer(None),
        control.refuse("busy", "ä"),
        b'{"result":"\xff"}',
    ]


def _packets() -> list[bytes]:
    key = DeviceKey("PHONE", "anna")
    redirect = Redirect(key=key, backend="mail0", host="mail1.lab.test", port=443, until=86_400.5)
    life = Life(
        state="running",
        counters=Counters(requests=7, bytes_in=1 << 40),
        throttled=(Paused(device=key, excess=Excess.SYNC_LOOP, seconds=30),),
        backends={"mail0": Standing(up=True), "mail1": Standing(up=False, reason="backend_timeout")},
    )
    said = (life, Learned(redirect=redirect), Forgotten(keys=(key,)), Forgotten(keys=None))
    return [*(msgspec.json.encode(one) for one in said), b'{"news":"life","state":"\xff"}', b"{}"]


TARGETS = {
    "uem": Target(uem, _messages()),
    "problem": Target(
        problem,
        [
            msgspec.json.encode(Problem(title="not taken", detail="x" * 300)),
            b'{"title":"\xff"}',
            b"<html>502 Bad Gateway</html>",
            *_messages()[1:3],
        ],
    ),
    "control": Target(requests, _requests()),
    "agent": Target(answers, _answers()),
    "worker": Target(packets, _packets()),
}
