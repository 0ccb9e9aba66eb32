"""CPU time of large bodies, by the GiB."""

from tests.bench import phones, remote, wrk
from tests.bench.contest import Sample, Setting
from tests.bench.measures.requests import per_request

LARGE = 20 * 1_048_576
CONNECTIONS = 4  # enough to keep the proxy busy; more only share the same core
GIB = 1 << 30


def download(setting: Setting) -> Sample:
    """Seconds of CPU time for a GiB of attachments that devices fetch."""
    remote.ask(setting.stage.backend, "answer", LARGE)
    return _per_gib(setting, "ItemOperations", 200)


def upload(setting: Setting) -> Sample:
    """Seconds of CPU time for a GiB of mail that devices send."""
    return _per_gib(setting, "SendMail", LARGE)


def _per_gib(setting: Setting, command: str, length: int) -> Sample:
    devices = [phones.known(number) for number in range(CONNECTIONS)]
    sample = per_request(setting, wrk.Load(devices, command, length, CONNECTIONS))
    return Sample(sample.value * GIB / LARGE, sample.notes | {"rate": sample.notes["rate"] * LARGE / GIB})
