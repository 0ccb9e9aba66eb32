"""Serves the administrators' socket: register, allow, block, wipe, remove, list, status. Root's only."""

from collections.abc import Callable

from sentry_runtime import control
from sentry_runtime.control_server import Peer, Refused, page_that_fits
from sentry_runtime.devices.record import DeviceKey, State, Wipe
from sentry_runtime.uem.api import Decision
from sentry_runtime.uem.messages import MessageError, canonical, check_key, check_words
from sentry_runtime.uem.trail import Audit
from sentry_runtime.uem_server.api import Api
from sentry_runtime.uem_server.pusher import Pusher
from sentry_runtime.uem_server.registry import Registry, UnknownDeviceError
from sentry_runtime.uem_server.wipes import NotNowError
from sentry_runtime.uem_server.worker import DatabaseError, OverloadedError, Worker

LIST_LIMIT = 5_000  # more than a line holds; the line's bound ends the page

Change = Callable[[Registry], list[Decision]]


class Desk:
    """`handle` is the control server's handler; `allowed` are the uids whose requests are served."""

    def __init__(self, worker: Worker, pusher: Pusher, api: Api, audit: Audit, allowed: frozenset[int]) -> None:
        self._worker = worker
        self._pusher = pusher
        self._api = api
        self._audit = audit
        self._allowed = allowed

    async def handle(self, peer: Peer, request: control.Request) -> object:
        """The result of one request. Raises `Refused` of kind `forbidden`, `invalid`, `unknown` or `unavailable`."""
        if peer.uid not in self._allowed:
            raise Refused("forbidden", f"uid {peer.uid} may not send {type(request).__name__} here")
        try:
            return await self._serve(request)
        except (MessageError, NotNowError) as error:
            raise Refused("invalid", str(error)) from error
        except UnknownDeviceError as error:
            raise Refused("unknown", str(error)) from error
        except (OverloadedError, DatabaseError) as error:
            self._audit("uem_failed", detail=str(error))
            raise Refused("unavailable", str(error)) from error

    async def _serve(self, request: control.Request) -> object:
        match request:
            case control.Register():
                return await self._register(request)
            case control.SetState():
                return await self._set_state(request)
            case control.OrderWipe() | control.CancelWipe():
                return await self._wipe(request)
            case control.Remove():
                key = _key(request.device_id, request.principal)
                return await self._change(lambda registry: registry.remove(key), request.by)
            case control.ListRegistered():
                return await self._list(request)
            case control.Status():
                return await self._status()
            case _:
                raise Refused("invalid", f"{type(request).__name__} is not a request for the UEM")

    async def _register(self, request: control.Register) -> Decision:
        key = _key(request.device_id, request.principal)
        check_words("$", device_type=request.device_type, note=request.note)
        return await self._change(
            lambda registry: registry.register(key, request.device_type, request.note), request.by
        )

    async def _set_state(self, request: control.SetState) -> Decision:
        key = _key(request.device_id, request.principal)
        check_words("$", note=request.note)
        if request.state not in (State.ALLOWED, State.BLOCKED):
            raise MessageError("`allowed` or `blocked` is set; a wipe is ordered by `uem.wipe` - at `$.state`")
        return await self._change(
            lambda registry: registry.set_state(key, request.state, request.reasons, request.note), request.by
        )

    async def _wipe(self, request: control.OrderWipe | control.CancelWipe) -> Decision | Wipe:
        key, note, by = _key(request.device_id, request.principal), request.note, request.by
        check_words("$", note=note, by=by)
        if isinstance(request, control.OrderWipe):
            kind = request.kind
            return await self._change(
                lambda registry: registry.order_wipe(key, kind, note, by), by, f"wipe of the {kind}"
            )
        was, decisions = await self._worker.call(lambda registry: registry.cancel_wipe(key, note))
        self._made(decisions, by, f"wipe of the {was.kind} cancelled")
        return was

    async def _change(self, job: Change, by: str, detail: str = "") -> Decision:
        """Make the change, hand it to the pusher, answer: the push is not waited for."""
        check_words("$", by=by)
        decisions = await self._worker.call(job)
        self._made(decisions, by, detail)
        return decisions[0]

    def _made(self, decisions: list[Decision], by: str, detail: str) -> None:
        """Push the changes; `detail` is for the audit line of the first, the device itself."""
        self._pusher.add(decisions)
        for decision in decisions:
            key = DeviceKey(decision.device_id, decision.principal)
            action, said = "removed" if decision.removed else decision.state, detail if decision is decisions[0] else ""
            version, reasons = decision.version, decision.reasons
            self._audit("uem_changed", key=key, action=action, reasons=reasons, version=version, by=by, detail=said)

    async def _list(self, request: control.ListRegistered) -> list[object]:
        if request.limit < 1:
            raise MessageError(f"`limit` is 1 or more, found {request.limit}")
        limit = min(request.limit, LIST_LIMIT)
        return page_that_fits(await self._worker.call(lambda registry: registry.registered(request.after, limit)))

    async def _status(self) -> dict[str, int]:
        counts = await self._worker.call(lambda registry: registry.counts())
        pushes = {"pushes": self._pusher.sent, "pushes_pending": self._pusher.pending}
        return {**counts, "contacts": self._api.contacts, **pushes}


def _key(device_id: str, principal: str) -> DeviceKey:
    """The canonical key of what a person typed. Raises `MessageError`."""
    key = canonical(device_id, principal)
    check_key(key.device_id, key.principal)
    return key
