"""What a worker says is read as a stranger's word."""

import msgspec
import pytest

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.gateway.redirects import Forgotten, Learned, Redirect
from sentry_runtime.gateway.worker_channel import ORDER_BYTES, Life, PacketError, read_news, read_packet
from sentry_runtime.metrics import Counters

KEY = DeviceKey("PHONE1", "anna@lab.test")
LEARNED = Learned(redirect=Redirect(key=KEY, backend="mail0", host="mail1.lab.test", port=443, until=86_400.0))


def test_signs_of_life_and_news_are_read_as_they_were_said() -> None:
    """And news once more, from the order that they become."""
    life = Life(state="running", counters=Counters(requests=7))
    assert read_packet(msgspec.json.encode(life)) == life
    for news in (LEARNED, Forgotten(keys=None), Forgotten(keys=(KEY,))):
        order = msgspec.json.encode(read_packet(msgspec.json.encode(news)))
        assert read_news(order) == news


@pytest.mark.parametrize(
    ("packet", "found"),
    [
        (b"", "truncated"),
        (b"{}", "missing required field"),
        (b'{"news":"\xff"}', "UTF-8"),
        (b'{"a":' + b"[" * 60_000, "nested"),
        (b'{"news":"life","state":"running","counters":{"requests":-1}}', ">= 0"),
        (b'{"news":"life","state":"running","counters":{"requests":9007199254740993}}', "<= 9007199254740992"),
        (msgspec.json.encode(LEARNED).replace(b"443", b"65536"), "<= 65535"),
        (msgspec.json.encode(LEARNED).replace(b"86400.0", b"1e300"), "<="),
        (msgspec.json.encode(Forgotten(keys=(KEY,) * 200)), f"more than {ORDER_BYTES} bytes"),
    ],
)
def test_whatever_else_it_says_is_refused_in_one_way(packet: bytes, found: str) -> None:
    """Nothing of it comes to the supervisor, to the other workers, or to whoever asks for the status."""
    with pytest.raises(PacketError, match=found):
        read_packet(packet)
