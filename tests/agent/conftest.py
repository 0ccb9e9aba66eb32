"""Certificates of a throw-away authority, and stages on which the real processes run."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest

from tests.agent.stage import UEM_SECONDS, Pki, Stage
from tests.gateway.stand import Backend

MakeStage = Callable[..., Stage]


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """The appliance's authority `ca` with its certificates, and a stranger's."""
    made = Pki(tmp_path_factory.mktemp("pki"))
    made.authority("ca")
    made.authority("strangers")
    for name in ("uem", "uem-push"):
        made.issue(name, "ca", "serverAuth")
    for name in ("agent", "uem-client", "edge", "boss"):
        made.issue(name, "ca", "clientAuth")
    made.issue("stranger", "strangers", "clientAuth")
    return made


@pytest.fixture
def make_stage(tmp_path: Path, pki: Pki) -> Iterator[MakeStage]:
    """Make a stage with a fail mode, a resync interval and how long the agent waits for the UEM's answer (a busy machine's is
    late); what it started is ended with the test."""
    stages: list[Stage] = []

    def make(
        fail_mode: Literal["allow", "block"] = "block",
        resync_seconds: float = 60.0,
        timeout_seconds: float = UEM_SECONDS,
    ) -> Stage:
        stages.append(Stage(tmp_path, pki, fail_mode, resync_seconds, timeout_seconds))
        return stages[-1]

    yield make
    for stage in stages:
        stage.end()


@pytest.fixture
def stage(make_stage: MakeStage) -> Stage:
    """A stage with fail mode `block`."""
    return make_stage()


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    """A mail server that says yes to all credentials."""
    made = Backend("mail", None)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def trio(make_stage: MakeStage, backend: Backend) -> Stage:
    """UEM, agent and gateway run, in this order; nothing is registered."""
    return start_three(make_stage(), backend)


def start_three(made: Stage, backend: Backend) -> Stage:
    """Start UEM, agent and gateway in front of this mail server."""
    made.front(backend.port)
    made.uem()
    made.agent()
    made.start("gateway")
    return made
