"""What administrators ask of redirections; the supervisor has the table that all workers share."""

import time
from collections.abc import Callable

import msgspec

from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.eas.device_id import printable_reading
from sentry_runtime.eas.principal import Names, PrincipalError
from sentry_runtime.gateway.redirects import Forgotten, News, Redirections

PAGE_BYTES = 65_536  # of one answer, which a Unix socket takes at once: the supervisor waits for nobody

Request = control.ListRedirects | control.ClearRedirects


class RedirectDesk:
    """Answers requests from `known`; `spread` tells the workers, `names` is how users' names are read now."""

    def __init__(
        self, spread: Callable[[News], None], names: Callable[[], Names], now: Callable[[], float] = time.monotonic
    ) -> None:
        self.known = Redirections(now=now)
        self._spread = spread
        self._names = names
        self._now = now

    def serve(self, request: Request) -> bytes:
        """The answer, as a line."""
        if isinstance(request, control.ListRedirects):
            return control.answer(self._page(request.after))
        if bool(request.device_id) != bool(request.principal):
            return control.refuse("invalid", "a device id comes with a principal, or neither is given")
        try:
            keys = self._keys(request) if request.device_id else tuple(one.key for one in self.known)
        except PrincipalError:
            return control.refuse("invalid", f"{request.principal!r} is no user's name")
        news = Forgotten(keys=keys if request.device_id else None)
        self.known.apply(news)
        self._spread(news)
        return control.answer(len(keys))

    def _keys(self, request: control.ClearRedirects) -> tuple[DeviceKey, ...]:
        who, device = self._names().canonical(request.principal), request.device_id.upper()
        forms = (device, *printable_reading(device))  # as a person has it from the device list, and as it is kept here
        return tuple(one.key for one in self.known if one.key.principal == who and one.key.device_id in forms)

    def _page(self, after: DeviceKey | None) -> list[control.Redirected]:
        page: list[control.Redirected] = []
        room = PAGE_BYTES
        for one in self.known:
            if after is not None and one.key <= after:
                continue
            seconds = max(0, round(one.until - self._now()))
            entry = control.Redirected(key=one.key, backend=one.backend, host=one.host, port=one.port, seconds=seconds)
            room -= len(msgspec.json.encode(entry)) + 1
            if room < 0:
                break
            page.append(entry)
        return page
