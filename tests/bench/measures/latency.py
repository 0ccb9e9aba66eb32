"""The time that a proxy adds to a request, under a load that it carries with ease."""

from tests.bench import h2load, phones
from tests.bench.contest import Sample, Setting
from tests.bench.stage import ADDRESS
from tests.bench.wrk import CONNECTIONS


def added(setting: Setting) -> Sample:
    """Seconds that are added to the slowest of 100 requests: their time with the proxy, less what a request takes without it.

    Without it that is the median, since the slowest of those are slow for reasons of the load's own.
    """
    stage, proxy = setting.stage, setting.proxy
    rate, seconds = setting.peak / 2, setting.seconds + 1
    through = _times(setting, f"https://{ADDRESS}:{proxy.port}", rate, seconds)
    scheme = "https" if stage.plan.backend_tls else "http"
    direct = _times(setting, f"{scheme}://{ADDRESS}:{stage.backend_port}", rate, seconds)
    slow, bare = h2load.quantile(through, 0.99), h2load.quantile(direct, 0.5)
    others = {"median": h2load.quantile(through, 0.5), "direct_p99": h2load.quantile(direct, 0.99)}
    return Sample(slow - bare, {"through": slow, "direct": bare, "rate": rate, **others})


def _times(setting: Setting, url: str, rate: float, seconds: float) -> list[float]:
    return h2load.run(
        url,
        phones.known(0),
        phones.BODY_BYTES,
        setting.proxy.folder,
        connections=CONNECTIONS,
        rate=rate,
        seconds=seconds,
    )
