"""Audit lines of the two processes that speak the UEM protocol."""

import time
from typing import Protocol

from sentry_runtime import audit
from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.plain import plain
from sentry_runtime.trail import Trail

DETAIL_CHARS = 1_000  # a line stays below the 2 KiB that every log server takes


class UemLine(audit.Line, frozen=True, kw_only=True, omit_defaults=True):
    """What concerns a device's entry or the link: `action` is the entry's state, `detail` what went wrong, in words, `by` the
    administrator who said it."""

    version: int = 0
    by: str = ""
    detail: str = ""


class Audit(Protocol):
    """How the two processes write an audit line."""

    def __call__(
        self,
        event: str,
        *,
        key: DeviceKey | None = None,
        action: str = "",
        reasons: tuple[str, ...] = (),
        version: int = 0,
        count: int = 0,
        detail: str = "",
        by: str = "",
    ) -> None:
        """One event; see `UemLine` for the fields."""
        ...


def writer(trail: Trail) -> Audit:
    """An `Audit` that writes to this trail."""

    def emit(
        event: str,
        *,
        key: DeviceKey | None = None,
        action: str = "",
        reasons: tuple[str, ...] = (),
        version: int = 0,
        count: int = 0,
        detail: str = "",
        by: str = "",
    ) -> None:
        line = UemLine(
            time=audit.timestamp(time.time()),
            id="",
            event=event,
            device_id=key.device_id if key is not None else "",
            principal=key.principal if key is not None else "",
            action=action,
            reasons=reasons,
            version=version,
            count=count,
            detail=plain(detail, DETAIL_CHARS),
            by=plain(by, DETAIL_CHARS),
        )
        trail.write(line)

    return emit
