"""What a worker has the agent keep of a backend's own policy, so that the next worker, and the next start, knows it."""

import asyncio

import msgspec

from sentry_runtime import control
from sentry_runtime.devices.enforcement import Enforcement
from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.gateway.agent_link import UndecidedError, roundtrip

NOTES_AT_ONCE = 256  # per worker; the agent takes 4,096 connections. More than that are told to come back


class Notes:
    """One per worker. `path` is the agent's socket; it gets `seconds` for each."""

    def __init__(self, path: str, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._open = 0

    async def keep(self, key: DeviceKey, enforcement: Enforcement | None, after: int | None = None) -> bool:
        """See `control.KeepEnforcement`. Raises `UndecidedError`."""
        if self._open >= NOTES_AT_ONCE:
            raise UndecidedError("busy")
        self._open += 1
        try:
            async with asyncio.timeout(self._seconds):
                request = control.KeepEnforcement(key=key, enforcement=enforcement, after=after)
                answer = await roundtrip(self._path, request)
            if answer.error is not None:
                raise UndecidedError("unavailable" if answer.error.kind == "unavailable" else "agent_error")
            return msgspec.json.decode(answer.result, type=bool)
        except TimeoutError:
            raise UndecidedError("decision_timeout") from None
        except OSError:
            raise UndecidedError("agent_down") from None
        except (msgspec.MsgspecError, ValueError):
            raise UndecidedError("agent_error") from None
        finally:
            self._open -= 1
