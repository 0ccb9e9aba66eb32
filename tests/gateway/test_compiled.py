"""Whether the gateway that these tests start is the one they are to test: compiled, or plain Python."""

from images.native.modules import listed
from images.paths import REPO
from sentry_runtime.gateway import front
from tests import compiled
from tests.gateway.conftest import MakeStand

LIBRARY = "sentry_runtime__mypyc"
WANTED = frozenset((*listed(REPO), LIBRARY)) if compiled.WANTED else frozenset()


def test_these_very_tests_import_what_is_wanted() -> None:
    assert front.__file__.endswith(".so") == compiled.WANTED


async def test_a_worker_has_loaded_each_compiled_module_or_none(make_stand: MakeStand) -> None:
    stand = await make_stand()
    for pid in stand.workers():
        assert compiled.mapped(pid) == WANTED
    assert stand.status()["compiled"] is compiled.WANTED
