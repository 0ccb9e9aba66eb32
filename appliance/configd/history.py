"""What passwords an account had, and since when it has the one it has: read from the kept revisions, which hold a reference to
each (`appliance.config.store`). Administrators' passwords do not go through PAM, so pam_pwhistory sees none of them.

The memory is as long as the revisions are kept.
"""

import datetime
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from appliance.config.store import Kept
from appliance.configd import passwords
from appliance.configd.accounts import PasswordRules
from appliance.configd.passwords import PasswordError

HOUR = 3_600.0

Path = tuple[str, ...]


def references(kept: Iterable[Kept], path: Path) -> dict[str, float]:
    """The different values that stood at `path`, the latest first, each with the time (seconds since the epoch) of the
    first of the revisions in a row in which it stood last. `kept`: newest first."""
    found: dict[str, float] = {}
    here = ""
    for one in kept:
        value = _at(one.tree, path)
        if value and (value == here or value not in found):
            found[value] = datetime.datetime.fromisoformat(one.when).timestamp()
        here = value
    return found


def _at(tree: Mapping[str, Any], path: Path) -> str:
    here: Any = tree
    for step in path:
        here = here.get(step) if isinstance(here, Mapping) else None
    return str(here or "")


def refuse_old(password: str, had: Iterable[str], rules: PasswordRules, reveal: Callable[[str], str]) -> None:
    """Raise `PasswordError` when `password` is one of the last `rules.remember` of those it `had` (references)."""
    for reference in list(had)[: rules.remember]:
        if passwords.verify(password, reveal(reference)):
            raise PasswordError(f"found one of the last {rules.remember} passwords; allowed: one that is new")


def refuse_soon(had: Mapping[str, float], rules: PasswordRules, now: float) -> None:
    """Raise `PasswordError` when the present password, the first of those it `had`, is younger than the rules ask."""
    since = next(iter(had.values()), None)
    left = 0.0 if since is None else since + rules.change_hours * HOUR - now
    if left > 0:
        raise PasswordError(
            f"found a password that was changed less than {rules.change_hours} h ago; allowed: a change of your own in "
            f"{left / HOUR:.1f} h, or one by another administrator"
        )
