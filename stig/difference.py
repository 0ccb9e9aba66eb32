"""What has changed between two scans of one machine."""

from dataclasses import dataclass

from stig.errors import InputError
from stig.results import Scan
from stig.verdict import Status


@dataclass(frozen=True, slots=True)
class Change:
    """One rule that ended as something else than before; None: that scan did not have the rule."""

    rule: str
    before: Status | None
    now: Status | None

    @property
    def worse(self) -> bool:
        """Whether it was met, or nobody's business, and is open or unknown now."""
        return self.now in ("open", "error") and self.before not in ("open", "error")


@dataclass(frozen=True, slots=True)
class Difference:
    """`since` is when the earlier scan ended."""

    since: str
    changes: tuple[Change, ...]


def comparable(earlier: Scan, name: str) -> Scan:
    """The earlier scan, if it is of the machine of this name. Raises `InputError`."""
    if earlier.asset.name != name:
        raise InputError(f"the earlier scan is of {earlier.asset.name}; allowed: one of {name}, which is scanned now")
    return earlier


def between(earlier: Scan, later: Scan) -> Difference:
    """What has changed, what got worse first, else in the order of the rules. Both are of one machine."""
    before = {result.rule: result.status for result in earlier.results}
    now = {result.rule: result.status for result in later.results}
    found = [Change(rule, before.get(rule), now.get(rule)) for rule in sorted(before.keys() | now.keys())]
    changed = [change for change in found if change.before != change.now]
    return Difference(earlier.finished, tuple(sorted(changed, key=lambda change: (not change.worse, change.rule))))
