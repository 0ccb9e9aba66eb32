"""The API's application: who may pass, what each resource does. It keeps nothing: each request opens a session of its token in
configd, which judges every verb, and the session ends with the request."""

import asyncio
import base64
import functools
import hashlib
import logging
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from appliance.configd import api
from appliance.configd.client import Conversation, Refused, Unreachable
from appliance.features import FEATURES
from appliance.features.base import Feature
from appliance.portal.throttle import Throttle
from appliance.rest import metrics, openapi, requests
from appliance.rest.operations import BY_NAME, COMMITS, OWN, PREFIX, TOPICS, VERBS, Operation, body_type
from appliance.rest.page import page
from appliance.rest.problems import ProblemError, of_refusal, response

CONVERSATIONS = 12  # configd gives the portal's account 24 connections, of which its pages take eight at once
WAIT_SECONDS = 5.0  # for one of them; longer is a client's to repeat
LOG_IN = "log_in"
"""The portal's key for a person who has logged in: enough to read about the API, and for nothing else."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_CONVERSATION, _SESSION = "rest.conversation", "rest.session"
_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode


class Rest:
    """`socket` is configd's; `log_ins_per_minute` bounds log-ins by password from one source and to one account, as in the
    portal; `features` are those whose settings are resources."""

    def __init__(
        self,
        socket: str,
        *,
        log_ins_per_minute: int,
        features: tuple[Feature, ...] = FEATURES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._socket = socket
        self._features = features
        self._throttle = Throttle(log_ins_per_minute, clock=clock)
        self._free = asyncio.Semaphore(CONVERSATIONS)
        self._editing: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._operations: dict[tuple[str, str], Operation] = {}
        self.application = web.Application(middlewares=[self._guard])
        for operation in (*OWN, *VERBS):
            own: Handler | None = getattr(self, f"_{operation.name}", None) if operation in OWN else None
            self._add(operation, own or self._verb(operation))
        for feature in features:
            self._add_feature(feature)

    @functools.cached_property
    def _document(self) -> dict[str, Any]:
        return openapi.document(self._features)

    def mount(self, portal: web.Application) -> None:
        """Serve it below `PREFIX` of this application."""
        portal.add_subapp(PREFIX, self.application)

    def serves(self, request: web.Request) -> bool:
        """Whether the request is the API's, by where the router has led it and not by how its path looks."""
        return self.application in request.match_info.apps

    def _add(self, operation: Operation, handler: Handler) -> None:
        self.application.router.add_route(operation.method, operation.path, handler)
        self._operations[(operation.method, PREFIX + operation.path)] = operation

    # --- who may pass ------------------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Everything that goes wrong becomes a problem that tells nothing of the inside."""
        try:
            return await self._admit(request, handler)
        except ProblemError as error:
            return response(error)
        except Refused as refused:
            return response(of_refusal(refused.refusal, matched="If-Match" in request.headers))
        except Unreachable as error:
            _log.warning("%s", error)
            return response(ProblemError(503, "unavailable", "The configuration service does not answer; try again"))
        except web.HTTPException as error:
            return response(_of_http(error))
        except Exception:  # noqa: BLE001 - the process boundary: nobody outside learns what broke, the journal does
            _log.exception("%s %s failed", request.method, request.rel_url.path)
            return response(ProblemError(500, "internal"))

    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Nothing is told, not even whether there is such a resource, before configd has taken the token."""
        operation = self._operation(request)
        if operation is BY_NAME["create_token"]:
            return await self._with_password(request, handler)
        if operation in (BY_NAME["openapi"], BY_NAME["docs"]) and request.get(LOG_IN) is not None:
            return await handler(request)
        token = requests.bearer(request)
        candidate = operation is not None and operation.candidate
        login = api.LoginToken(
            token=token,
            source=request.remote or "unknown",
            enable_secret=requests.enable_secret(request),
            candidate=candidate,
        )
        if not candidate:
            return await self._within(request, handler, login)
        async with self._lock(token):
            return await self._within(request, handler, login)

    async def _with_password(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        person = requests.basic(request)
        source = request.remote or "unknown"
        seconds = self._throttle.wait_seconds(f"source {source}", f"account {person.user.lower()}")
        if seconds:  # each that is wrong keeps a connection to configd for seconds
            raise ProblemError(429, "locked", f"too many log-ins; wait {seconds} seconds", retry_seconds=seconds)
        login = api.Login(user=person.user, password=person.password, source=source)
        return await self._within(request, handler, login)

    async def _within(
        self, request: web.Request, handler: Handler, login: api.LoginToken | api.Login
    ) -> web.StreamResponse:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError as error:
            raise ProblemError(503, "unavailable", "too many requests at once; try again") from error
        try:
            async with Conversation(self._socket) as conversation:
                session = await conversation.call(login, api.Session)
                request[_CONVERSATION], request[_SESSION] = conversation, session
                try:
                    return await handler(request)
                finally:
                    if isinstance(login, api.Login):  # it is a person's, which does not end with the connection
                        await conversation.call(api.CloseSession(session=session.handle))
        finally:
            self._free.release()

    def _lock(self, token: str) -> asyncio.Lock:
        """One request at a time edits what a token is editing."""
        name = hashlib.sha256(token.encode()).hexdigest()
        lock = self._editing.get(name)
        if lock is None:
            lock = self._editing[name] = asyncio.Lock()
        return lock

    def _operation(self, request: web.Request) -> Operation | None:
        resource = request.match_info.route.resource
        return self._operations.get((request.method, resource.canonical)) if resource is not None else None

    # --- one verb ----------------------------------------------------------------------------------------------------

    @staticmethod
    async def _call(request: web.Request, verb: type[Any], result: Any = Any, /, **fields: Any) -> Any:
        try:
            made = msgspec.convert({**fields, "session": request[_SESSION].handle, "verb": _tag(verb)}, verb)
        except msgspec.ValidationError as error:
            raise ProblemError(422, "invalid", str(error)) from error
        return await request[_CONVERSATION].call(made, result)

    def _verb(self, operation: Operation) -> Handler:
        assert operation.verb is not None  # noqa: S101 - the others have handlers of their own
        verb = operation.verb
        kinds = {each.name: each.type for each in msgspec.structs.fields(verb)}

        async def handler(request: web.Request) -> web.StreamResponse:
            places = {name: request.match_info[name] for name in operation.places}
            fields = dict(operation.fixed) | requests.typed(places, kinds, status=404, kind="unknown")
            if verb is api.Show and fields["topic"] not in TOPICS:
                raise ProblemError(
                    404, "unknown", f"found the topic {fields['topic'][:64]!r}; allowed: {', '.join(TOPICS)}"
                )
            fields |= requests.typed(requests.query(request, operation.query), kinds)
            fields |= await _body_fields(request, operation)
            found = await self._call(request, verb, msgspec.Raw, **fields)
            return web.Response(status=204) if operation.result is None else _json(found)

        return handler

    # --- the configuration in one step -------------------------------------------------------------------------------

    async def _read_config(self, request: web.Request) -> web.StreamResponse:
        said = requests.query(request, ("pointer",))
        found = await self._call(request, api.ReadConfig, api.Configuration)
        return _tree(found, requests.pointed(found.tree, said.get("pointer", "")))

    async def _replace_config(self, request: web.Request) -> web.StreamResponse:
        await self._call(request, api.ReplaceConfig, tree=await requests.group(request))
        return await self._commit(request)

    async def _merge_config(self, request: web.Request) -> web.StreamResponse:
        await self._call(request, api.MergeConfig, patch=await requests.group(request, requests.MERGE))
        return await self._commit(request)

    async def _commit(self, request: web.Request) -> web.StreamResponse:
        kinds = {each.name: each.type for each in msgspec.structs.fields(api.Commit)}
        fields = requests.typed(requests.query(request, COMMITS), kinds)
        digest = requests.digest_wanted(request)
        done = await self._call(request, api.Commit, api.Committed, **fields, digest=digest)
        answer = _json(_encode(done))
        if done.digest:
            answer.headers["ETag"] = f'"{done.digest}"'
        return answer

    # --- one resource for each feature ---------------------------------------------------------------------------------

    def _add_feature(self, feature: Feature) -> None:
        for operation in openapi.of_feature(feature):
            self._add(operation, self._feature_handler(feature.name, operation))

    def _feature_handler(self, name: str, operation: Operation) -> Handler:
        async def read(request: web.Request) -> web.StreamResponse:
            requests.query(request, ())
            found = await self._call(request, api.ReadConfig, api.Configuration)
            if name not in found.tree:
                raise ProblemError(404, "unknown", f"{name}: nothing is configured")
            return _tree(found, found.tree[name])

        async def replace(request: web.Request) -> web.StreamResponse:
            await self._call(request, api.SetConfig, path=(name,), value=await requests.body(request))
            return await self._commit(request)

        async def merge(request: web.Request) -> web.StreamResponse:
            patch = await requests.group(request, requests.MERGE)
            await self._call(request, api.MergeConfig, patch={name: patch})
            return await self._commit(request)

        async def reset(request: web.Request) -> web.StreamResponse:
            await self._call(request, api.DeleteConfig, path=(name,))
            return await self._commit(request)

        return {"GET": read, "PUT": replace, "PATCH": merge, "DELETE": reset}[operation.method]

    # --- the rest ----------------------------------------------------------------------------------------------------

    async def _session(self, request: web.Request) -> web.StreamResponse:
        session: api.Session = request[_SESSION]
        return _json(_encode(msgspec.structs.replace(session, handle="")))

    async def _topics(self, _request: web.Request) -> web.StreamResponse:
        return _json(_encode(TOPICS))

    async def _create_token(self, request: web.Request) -> web.StreamResponse:
        fields = await _body_fields(request, BY_NAME["create_token"])
        secret = requests.enable_secret(request)
        found = await self._call(request, api.CreateToken, api.NewToken, **fields, enable_secret=secret)
        answer = _json(_encode(found), status=201)
        answer.headers["Location"] = f"{PREFIX}/tokens/{found.facts.name}"
        return answer

    async def _upload_software(self, request: web.Request) -> web.StreamResponse:
        # Nothing yet: who may not do this is told so before anything of theirs is read.
        here = await self._call(request, api.UploadSoftware, int, offset=0, data="")
        async for piece in requests.pieces(request):
            data = base64.b64encode(piece).decode()
            here = await self._call(request, api.UploadSoftware, int, offset=here, data=data)
        if not here:
            raise ProblemError(422, "invalid", "the body: found nothing; allowed: an update")
        return _json(_encode(await self._call(request, api.UploadSoftware, int, offset=here, data="", last=True)))

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        found = await self._call(request, api.ReadMetrics, api.Metrics)
        return web.Response(text=metrics.page(found), headers={"Content-Type": metrics.CONTENT_TYPE})

    async def _openapi(self, _request: web.Request) -> web.StreamResponse:
        return _json(_encode(self._document))

    async def _docs(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(text=page(self._document), content_type="text/html")


async def _body_fields(request: web.Request, operation: Operation) -> dict[str, Any]:
    kind = body_type(operation.name)
    if kind is None:
        return {}
    if operation.verb is api.ReplaceConfig:
        return {"tree": await requests.group(request)}
    if operation.verb is api.MergeConfig:
        return {"patch": await requests.group(request, requests.MERGE)}
    if not request.can_read_body and not any(each.required for each in msgspec.structs.fields(kind)):
        return {}
    said = await requests.group(request)
    try:
        made = msgspec.convert(said, kind)
    except msgspec.ValidationError as error:
        raise ProblemError(422, "invalid", str(error)) from error
    return {name: getattr(made, name) for name in kind.__struct_fields__ if name in said}


def _tag(verb: type[Any]) -> str:
    return str(verb.__struct_config__.tag)


def _json(data: bytes | msgspec.Raw, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=bytes(data), content_type="application/json")


def _tree(found: api.Configuration, part: Any) -> web.Response:
    answer = _json(_encode(part))
    answer.headers["ETag"] = f'"{found.digest}"'
    answer.headers["Sentry-Revision"] = str(found.revision)
    return answer


def _of_http(error: web.HTTPException) -> ProblemError:
    """What aiohttp itself refuses."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return ProblemError(405, "method", f"found {error.method}; allowed: {allowed}", allow=allowed)
    if error.status == 404:
        return ProblemError(404, "unknown", "there is no such resource; GET /api/v1/docs lists them")
    if error.status == 413:
        return ProblemError(413, "large", "the body is larger than is allowed")
    return ProblemError(400, "malformed", error.reason)
