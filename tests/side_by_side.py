"""How the tests are shared out among pytest's workers (`--numprocesses`).

A module's tests stay together, and in their order. All that needs the appliance is one portion, because there is one appliance;
what breaks it on purpose stays the last of that. The portions are given out in the order of collection.
"""

from pathlib import PurePosixPath

import pytest
from xdist.scheduler import LoadScopeScheduling

LAB_ROOMS = frozenset({"images", "stig", "appliance", "portal", "e2e"})
"""The rooms of which every test needs the appliance."""

LAB = "the appliance"
IMAGES = "boot"
"""The room of whole images; one build at a time."""


class Portions(LoadScopeScheduling):  # type: ignore[misc]  # xdist says nothing of its types
    """Portions of tests, each for one worker."""

    def __init__(self, config: pytest.Config, log: object) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # ours, not "most tests first": few of them can take long

    def _split_scope(self, nodeid: str) -> str:
        return portion(nodeid)


def portion(nodeid: str) -> str:
    """What a test goes together with."""
    module = nodeid.partition("::")[0]
    room = PurePosixPath(module).parts[1]
    if room in LAB_ROOMS:
        return LAB
    return room if room == IMAGES else module
