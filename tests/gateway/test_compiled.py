"""Whether the gateway that these tests start is the one they are to test: compiled, or plain Python."""

from importlib import import_module
from pathlib import Path

import pytest

from images.native.modules import listed
from images.paths import REPO
from tests import compiled
from tests.gateway.conftest import MakeStand


@pytest.mark.parametrize("name", listed(REPO))
def test_these_very_tests_import_each_module_as_is_wanted(name: str) -> None:
    file = import_module(name).__file__
    assert file is not None
    assert file.endswith(".so" if compiled.WANTED else ".py")


async def test_so_does_a_worker(make_stand: MakeStand) -> None:
    stand = await make_stand()
    assert [compiled.runs_compiled(maps) for maps in map(_maps, stand.workers())] == [compiled.WANTED]
    assert stand.status()["compiled"] is compiled.WANTED


def _maps(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()
