"""From one version of the schema to the next: trees that an earlier version wrote, made into what this one reads.

Every kept revision carries the version it was written with, a site file may (`version: 1`, beside the features' keys). A change
of the schema that older trees do not survive by themselves (a setting renamed, moved or read differently; a new one with a
default is none) raises `VERSION` by one and adds one function to `STEPS`: pure, from a tree of the version before, secrets as
references or plain, unknown keys left alone. What was once written is read for ever.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from appliance.config import steps as made
from appliance.features.base import Problem

KEY = "version"
FIRST = 1
"""What a tree without a version is: there was none before."""

Step = Callable[[dict[str, Any]], dict[str, Any]]

STEPS: tuple[Step, ...] = (made.with_tls_profiles,)
"""`STEPS[n]` leads from version n + 1 to n + 2."""

VERSION = FIRST + len(STEPS)


class VersionError(ValueError):
    """A tree of a version that this program does not know; `problem` says which and what is allowed."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


def brought(tree: Mapping[str, Any], version: object, *, steps: tuple[Step, ...] = STEPS) -> dict[str, Any]:
    """`tree` of `version` as a tree of the newest one; the given tree stays as it is. Raises `VersionError`."""
    newest = FIRST + len(steps)
    if isinstance(version, bool) or not isinstance(version, int) or not FIRST <= version <= newest:
        later = ", of a later version of the appliance" if isinstance(version, int) and version > newest else ""
        allowed = f"{FIRST} to {newest}" if newest > FIRST else str(FIRST)
        raise VersionError(Problem(KEY, f"{version!r:.40}{later}", allowed))
    new = deepcopy(dict(tree))
    for step in steps[version - FIRST :]:
        new = step(new)
    return new


def taken(site: Mapping[str, Any], *, steps: tuple[Step, ...] = STEPS) -> dict[str, Any]:
    """A tree as somebody wrote it, whose version stands in it or is the first, brought here. Raises `VersionError`."""
    tree = dict(site)
    return brought(tree, tree.pop(KEY, FIRST), steps=steps)


def marked(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A tree of this version with the version in it, for whoever passes it on."""
    return {KEY: VERSION, **tree}
