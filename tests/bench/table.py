"""The measures, with the bars that they are held to."""

from tests.bench.contest import Bar, Measure
from tests.bench.measures import bodies, handshakes, held, latency, requests

ONE_WORKER = "one_worker"
"""The peer that is ourselves with one worker, where ours has two."""

MEASURES = (
    Measure(
        "request",
        "CPU per decided request (200-byte POST, 70-byte answer, keep-alive, TLS, 64 connections)",
        "µs",
        requests.decided,
        {"haproxy": Bar(1.3, 1.0), "nginx_auth": Bar(0.8, 0.6)},
        beside=("nginx_map",),
    ),
    Measure(
        "memory",
        f"memory per held Ping (device connection and its upstream, {held.PINGS:,} of them)",
        "KiB",
        held.memory,
        {"haproxy": Bar(1.6, 1.0)},
        fresh=True,
    ),
    Measure(
        "handshake",
        "CPU per full TLS handshake plus first request",
        "µs",
        handshakes.first_request,
        {"haproxy": Bar(1.2, 1.05)},
    ),
    Measure("download", "CPU per GiB of a 20 MB download", "s", bodies.download, {"haproxy": Bar(2.0, 1.2)}),
    Measure("upload", "CPU per GiB of a 20 MB upload", "s", bodies.upload, {"haproxy": Bar(2.0, 1.2)}),
    Measure(
        "latency",
        "added p99 latency at half of our own peak",
        "ms",
        latency.added,
        {"haproxy": Bar(2.0, 1.2)},
        needs_peak=True,
    ),
    Measure(
        "block",
        f"a block reaches {held.BLOCKED_PINGS:,} held Pings on one worker: p99",
        "ms",
        held.block,
        limit=Bar(0.100, 0.020),
        fresh=True,
    ),
    Measure(
        "refused", "CPU per blocked request (refused in the proxy)", "µs", requests.refused, {"haproxy": Bar(1.3, 1.0)}
    ),
    Measure(
        "workers",
        "CPU per request with 2 workers vs 1",
        "µs",
        requests.decided,
        {ONE_WORKER: Bar(1.1, 1.03)},
        spread=Bar(0.6, 0.55),
    ),
)
