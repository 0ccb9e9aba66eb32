"""What the supervisor and its workers say to each other, one packet at a time.

A worker takes apart what strangers send, so its words are read here as theirs would be: whatever they are, the supervisor does
not fall over them, and hands nothing on over which another worker would.
"""

import msgspec

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.gateway.decide import Excess
from sentry_runtime.gateway.redirects import News
from sentry_runtime.gateway.reports import Standing
from sentry_runtime.json_text import decoded
from sentry_runtime.metrics import Count, Counters

THROTTLED_TOLD = 50  # devices that a sign of life names: 20 KiB; where there are more, something else is wrong

DRAIN, RETIRE, RENEW, QUIESCE, RESUME = b"D", b"R", b"P", b"Q", b"S"
"""Orders; any other one is news in JSON. With RETIRE comes a descriptor of the new settings' text: their rules hold for what
still runs here, too. RENEW: policy keys are others now."""
ORDER_BYTES = 4_096  # the longest order is news of one device, below 1 KiB
PACKET_BYTES = 65_536  # of a worker's: a sign of life with its throttled devices and some hundred backends


class Paused(msgspec.Struct, frozen=True, kw_only=True):
    """A device that a worker refuses for now, why, and for how many seconds more."""

    device: DeviceKey
    excess: Excess
    seconds: Count


class Life(msgspec.Struct, frozen=True, kw_only=True, tag_field="news", tag="life"):
    """A worker's sign of life to the supervisor: one packet of JSON each tick."""

    state: str
    counters: Counters
    throttled: tuple[Paused, ...] = ()
    backends: dict[str, Standing] = {}


class PacketError(ValueError):
    """A worker has said what no worker of ours says; the text names what was found."""


_decode_packet = msgspec.json.Decoder(Life | News).decode
_decode_news = msgspec.json.Decoder(News).decode


def read_packet(packet: bytes) -> Life | News:
    """What a worker says. Raises `PacketError`; also for news that are too long to be an order to the other workers."""
    try:
        said: Life | News = decoded(_decode_packet, packet)
    except msgspec.MsgspecError as error:
        raise PacketError(str(error)) from None
    if not isinstance(said, Life) and len(msgspec.json.encode(said)) > ORDER_BYTES:
        raise PacketError(f"news of more than {ORDER_BYTES} bytes")
    return said


def read_news(order: bytes) -> News:
    """The news in an order of the supervisor's, which has read them before. Raises `msgspec.MsgspecError`."""
    news: News = decoded(_decode_news, order)
    return news
