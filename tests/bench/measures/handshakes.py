"""CPU time of a device that comes anew."""

from tests.bench import clients, phones
from tests.bench.contest import Sample, Setting
from tests.bench.proxy import client_context

AT_ONCE = 8
WARM = 100  # visits before it counts
PER_SECOND = 200  # visits for each second that a figure may take


def first_request(setting: Setting) -> Sample:
    """Seconds of CPU time of a full handshake, the connection to the backend, one request, and the end of both."""
    proxy, context = setting.proxy, client_context(setting.stage)
    devices = [phones.known(number) for number in range(1_000)]
    count = round(PER_SECOND * setting.seconds)
    clients.visits(proxy.port, context, devices, WARM, at_once=AT_ONCE, length=phones.BODY_BYTES)
    cpu = proxy.cpu_seconds()
    clients.visits(proxy.port, context, devices, count, at_once=AT_ONCE, length=phones.BODY_BYTES)
    return Sample((proxy.cpu_seconds() - cpu) / count)
