"""The image's root as a guest: from nothing to all three ports, at the first start and at the next one; slow.

How long that takes is told and not judged: a test may run on a machine that has other things to do (docs/images.md has figures).
"""

from pathlib import Path

import pytest

from images.guest import wait_for
from images.paths import Layout
from tests.boot import contained
from tests.boot.contained import ANSWER_SECONDS, Contained
from tests.lab import Measured

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def appliance(built: Path, layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Contained:
    """A new one with the lab's site on its CD."""
    (image,) = built.glob("*.qcow2")
    folder = tmp_path_factory.mktemp("guest")
    erofs = contained.root(image, folder, layout)
    return Contained.made(erofs, folder / "guest", contained.user_data(folder / "site"))


@pytest.mark.parametrize("start", ["first", "next"])
def test_all_three_ports_answer(appliance: Contained, start: str, measured: Measured) -> None:
    with appliance.on() as one:
        for port, seconds in one.answers().items():
            measured(f"{start} start until {port} answers", seconds)
        revisions = appliance.folder / "var/lib/sentry/config/revisions"
        wait_for(lambda: list(revisions.glob("1.*")), "the first revision to be kept", ANSWER_SECONDS)
        first_boot = one.guest.execute(
            ["systemctl", "show", "-P", "ConditionResult", "sentry-first-boot.service"]
        ).stdout
    assert first_boot.strip() == ("yes" if start == "first" else "no")
    assert [path.name for path in revisions.iterdir()] == ["1.json.gz"]
