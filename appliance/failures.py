"""When failed attempts lock: the one rule for log-ins by SSH, console and portal, and for `enable` (V-250986)."""

from collections.abc import Sequence

AT_ONE_DOOR = 10
"""So many times the attempts of one source, from all sources together, lock an account at one door (SSH, portal). One address
cannot keep an administrator out, and a crowd of them, or a portal that lies about where people sit, cannot guess on."""


def locked(failures: Sequence[float], now: float, *, attempts: int, seconds: float) -> bool:
    """Whether the latest `attempts` of the `failures` (times in order) lie within `seconds`, and the last of them less than
    `seconds` ago. So a lock holds for `seconds` from the failure that made it, however far the ones before lie apart."""
    if len(failures) < attempts:
        return False
    first, last = failures[-attempts], failures[-1]
    return last - first < seconds and now - last < seconds
