"""Serves the administrators' socket: register, allow, block, wipe, flag, remove, assign a policy, list, status. Root's only."""

from collections.abc import Awaitable, Callable
from typing import Any

from sentry_runtime import control
from sentry_runtime.control_server import Peer, Refused, page_that_fits
from sentry_runtime.devices.record import DeviceKey, State, Wipe
from sentry_runtime.eas.principal import Names
from sentry_runtime.uem.api import Decision
from sentry_runtime.uem.messages import MessageError, canonical, check_key, check_words
from sentry_runtime.uem.trail import Audit
from sentry_runtime.uem_server.api import Api
from sentry_runtime.uem_server.policies import UnknownPolicyError
from sentry_runtime.uem_server.registry import Registry, UnknownDeviceError
from sentry_runtime.uem_server.rules import CAUSES
from sentry_runtime.uem_server.sentrys import Sentrys, made
from sentry_runtime.uem_server.wipes import NotNowError
from sentry_runtime.uem_server.worker import DatabaseError, OverloadedError, Worker

LIST_LIMIT = 5_000  # more than a line holds; the line's bound ends the page

Change = Callable[[Registry], list[Decision]]
Serve = Callable[[Any], Awaitable[object]]


class Desk:
    """`handle` is the control server's handler; `allowed` are the uids whose requests are served, `names` how the site
    reads the names that they type."""

    def __init__(
        self, worker: Worker, sentrys: Sentrys, api: Api, audit: Audit, allowed: frozenset[int], names: Names
    ) -> None:
        self._worker = worker
        self._sentrys = sentrys
        self._api = api
        self._audit = audit
        self._allowed = allowed
        self._names = names
        self._serves: dict[type[control.Request], Serve] = {
            control.Register: self._register,
            control.SetState: self._set_state,
            control.OrderWipe: self._order_wipe,
            control.CancelWipe: self._cancel_wipe,
            control.Flag: self._flag,
            control.Remove: self._remove,
            control.AssignPolicy: self._assign,
            control.ListRegistered: self._list,
            control.ShowRegistered: self._show,
            control.ListPolicies: self._policies,
            control.Status: self._status,
        }

    async def handle(self, peer: Peer, request: control.Request) -> object:
        """The result of one request. Raises `Refused` of kind `forbidden`, `invalid`, `unknown` or `unavailable`."""
        if peer.uid not in self._allowed:
            raise Refused("forbidden", f"uid {peer.uid} may not send {type(request).__name__} here")
        try:
            return await self._serve(request)
        except (MessageError, UnknownPolicyError, NotNowError) as error:
            raise Refused("invalid", str(error)) from error
        except UnknownDeviceError as error:
            raise Refused("unknown", str(error)) from error
        except (OverloadedError, DatabaseError) as error:
            self._audit("uem_failed", detail=str(error))
            raise Refused("unavailable", str(error)) from error

    async def _serve(self, request: control.Request) -> object:
        serve = self._serves.get(type(request))
        if serve is None:
            raise Refused("invalid", f"{type(request).__name__} is not a request for the UEM")
        return await serve(request)

    async def _register(self, request: control.Register) -> Decision:
        key = self._key(request.device_id, request.principal)
        check_words("$", device_type=request.device_type, note=request.note)
        return await self._change(
            lambda registry: registry.register(key, request.device_type, request.note), request.by
        )

    async def _set_state(self, request: control.SetState) -> Decision:
        key = self._key(request.device_id, request.principal)
        check_words("$", note=request.note)
        if request.state not in (State.ALLOWED, State.BLOCKED):
            raise MessageError("`allowed` or `blocked` is set; a wipe is ordered by `uem.wipe` - at `$.state`")
        return await self._change(
            lambda registry: registry.set_state(key, request.state, request.reasons, request.note), request.by
        )

    async def _order_wipe(self, request: control.OrderWipe) -> Decision:
        key, kind = self._key(request.device_id, request.principal), request.kind
        note, by = request.note, request.by
        check_words("$", note=note)
        return await self._change(lambda registry: registry.order_wipe(key, kind, note, by), by, f"wipe of the {kind}")

    async def _cancel_wipe(self, request: control.CancelWipe) -> Wipe:
        key, note, by = self._key(request.device_id, request.principal), request.note, request.by
        check_words("$", note=note, by=by)
        was, decisions = await self._worker.call(lambda registry: registry.cancel_wipe(key, note))
        self._made(decisions, by, f"wipe of the {was.kind} cancelled")
        return was

    async def _flag(self, request: control.Flag) -> Decision:
        key, cause, holds = self._key(request.device_id, request.principal), request.cause, request.holds
        if cause not in CAUSES:
            raise MessageError(f"`cause` is one of {', '.join(sorted(CAUSES))}; found {cause.value} - at `$.cause`")
        return await self._change(lambda registry: registry.flag(key, cause, holds=holds), request.by)

    async def _remove(self, request: control.Remove) -> Decision:
        key = self._key(request.device_id, request.principal)
        return await self._change(lambda registry: registry.remove(key), request.by)

    async def _assign(self, request: control.AssignPolicy) -> Decision:
        key = self._key(request.device_id, request.principal)
        said = "the default policy" if request.policy is None else f"policy {request.policy}"
        return await self._change(lambda registry: registry.assign(key, request.policy), request.by, said)

    async def _change(self, job: Change, by: str, detail: str = "") -> Decision:
        """Make the change, hand it to the pusher, answer: the push is not waited for."""
        check_words("$", by=by)
        decisions = await self._worker.call(job)
        self._made(decisions, by, detail)
        return decisions[0]

    def _made(self, decisions: list[Decision], by: str, detail: str) -> None:
        """Push the changes; `detail` is for the audit line of the first, the device itself."""
        made(self._sentrys, self._audit, decisions, by, detail)

    async def _show(self, request: control.ShowRegistered) -> object:
        device_id = request.device_id.upper()
        return await self._worker.call(lambda registry: registry.of_device(device_id))

    async def _policies(self, _request: control.ListPolicies) -> list[object]:
        return page_that_fits(await self._worker.call(lambda registry: registry.listed_policies()))

    async def _list(self, request: control.ListRegistered) -> list[object]:
        if request.limit < 1:
            raise MessageError(f"`limit` is 1 or more, found {request.limit}")
        limit = min(request.limit, LIST_LIMIT)
        return page_that_fits(await self._worker.call(lambda registry: registry.registered(request.after, limit)))

    async def _status(self, _request: control.Status) -> dict[str, int]:
        counts = await self._worker.call(lambda registry: registry.counts())
        pushes = {"pushes": self._sentrys.sent, "pushes_pending": self._sentrys.pending}
        return {**counts, "contacts": self._api.contacts, **pushes}

    def _key(self, device_id: str, principal: str) -> DeviceKey:
        """The canonical key of what a person typed. Raises `MessageError`."""
        key = canonical(device_id, principal, self._names)
        check_key(key.device_id, key.principal)
        return key
