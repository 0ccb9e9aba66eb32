"""The portal's application: its routes and what they do. Who may pass is decided by `appliance.portal.gate`."""

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable

import msgspec
from aiohttp import web

from appliance.config.schema import Schema
from appliance.configd.api import CloseSession, Login, LoginCertificate, Session, Touch
from appliance.configd.client import AsyncClient, Refused, Unreachable
from appliance.features import FEATURES
from appliance.portal import facts
from appliance.portal.gate import COOKIE, FORM_COOKIE, FORM_FIELD, LOG_IN, Gate, form_of, harden, matches, same_origin
from appliance.portal.pages import Pages
from appliance.portal.serve_pages import ServePages
from appliance.portal.serving import preface_of
from appliance.portal.sessions import TOKEN_BYTES, LogIn, LogIns, Note
from appliance.portal.settings import Settings
from appliance.portal.throttle import Throttle
from appliance.rest.app import Rest

BODY_BYTES = 65_536  # the log-in form is a few hundred bytes; who is logged in may send more (`gate.FORM_BYTES`)
USER_CHARACTERS = 64
PASSWORD_CHARACTERS = 512
SWEEP_SECONDS = 30.0  # how late an abandoned session may be closed in configd
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 bytes, as secrets.token_urlsafe writes them
WRONG = "User name or password is not right, or the account is locked."  # one answer: tells no stranger who exists

NO_CERTIFICATE = (
    "Your browser showed no certificate. Insert your card; if the browser does not ask for a certificate, close all its windows "
    "and open it again."
)
NOT_TOLD = (
    "Your certificate could not be passed on, because the configuration service does not answer. Try again in a moment."
)
NOT_TAKEN = "This appliance takes no certificates for log-in."
NO_PASSWORDS = "This appliance takes log-ins by certificate only."


class Portal:
    """The handlers. `client` is the way to configd; `clock` gives monotonic seconds."""

    def __init__(
        self, settings: Settings, banner: str, client: AsyncClient, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._pages = Pages(banner, certificate_login=settings.certificate_login)
        self._certificates = settings.certificate_login
        self._log_ins = LogIns(settings.idle_minutes * 60.0, clock=clock)
        self._throttle = Throttle(settings.login_attempts_per_minute, clock=clock)
        self._rest = Rest(settings.configd_socket, log_ins_per_minute=settings.login_attempts_per_minute)
        self._gate = Gate(settings, self._log_ins, self._pages, self._rest.serves)
        self._served = ServePages(Schema(FEATURES), client, self._pages, self._log_ins, settings.hosts[0])

    def application(self) -> web.Application:
        """The aiohttp application with every route."""
        app = web.Application(middlewares=[self._gate.pass_through], client_max_size=BODY_BYTES)
        app.router.add_get("/login", self._login_page)
        app.router.add_post("/login", self._login)
        app.router.add_post("/login/certificate", self._login_by_certificate)
        app.router.add_post("/logout", self._logout)
        self._served.add_to(app)
        app.router.add_get("/api/v1/status", self._status)
        app.router.add_get("/static/portal.css", self._style)
        self._rest.mount(app)
        app.on_response_prepare.append(harden)  # type: ignore[arg-type]  # aiohttp 3.11 declares one argument, and calls with two
        app.cleanup_ctx.append(self._sweeping)
        return app

    async def _login_page(self, request: web.Request) -> web.StreamResponse:
        return self._form(request)

    async def _login(self, request: web.Request) -> web.StreamResponse:
        form = await form_of(request)
        if not (same_origin(request) and matches(form.get(FORM_FIELD), request.cookies.get(FORM_COOKIE, ""))):
            return self._form(request, status=403, words="The form was too old. Try again.")
        if self._certificates == "required":
            return self._form(request, status=403, words=NO_PASSWORDS)
        user, password = str(form.get("user", "")).strip(), str(form.get("password", ""))
        source = request.remote or "unknown"
        seconds = self._throttle.wait_seconds(f"source {source}", f"account {user.lower()[:USER_CHARACTERS]}")
        if seconds:
            page = self._form(request, status=429, words=f"Too many attempts. Wait {seconds} seconds.", user=user)
            page.headers["Retry-After"] = str(seconds)
            return page
        if not 0 < len(user) <= USER_CHARACTERS or not 0 < len(password) <= PASSWORD_CHARACTERS:
            return self._form(request, status=401, words=WRONG)
        try:
            session = await self._client.call(Login(user=user, password=password, source=source), Session)
        except Refused as refused:
            known = refused.refusal.kind in ("authentication", "locked", "permission")
            return self._form(request, status=401, words=WRONG if known else refused.refusal.message, user=user)
        return await self._enter(request, session)

    async def _login_by_certificate(self, request: web.Request) -> web.StreamResponse:
        form = await form_of(request)
        if not (same_origin(request) and matches(form.get(FORM_FIELD), request.cookies.get(FORM_COOKIE, ""))):
            return self._form(request, status=403, words="The form was too old. Try again.")
        seconds = self._throttle.wait_seconds(f"source {request.remote or 'unknown'}")
        if seconds:
            page = self._form(request, status=429, words=f"Too many attempts. Wait {seconds} seconds.")
            page.headers["Retry-After"] = str(seconds)
            return page
        preface = preface_of(request)
        if self._certificates == "off" or preface is None:
            return self._form(request, status=403, words=NOT_TAKEN)
        if not preface.ticket:
            return self._again(request, NOT_TOLD if preface.certificate else NO_CERTIFICATE)
        try:
            session = await self._client.call(LoginCertificate(ticket=preface.ticket), Session)
        except Refused as refused:
            return self._again(request, refused.refusal.message)
        return await self._enter(request, session)

    def _again(self, request: web.Request, words: str) -> web.Response:
        """The log-in page with what went wrong. The next attempt takes another handshake, maybe with another certificate: a
        ticket is for one attempt, and belongs to its connection."""
        page = self._form(request, status=401, words=words)
        page.force_close()
        return page

    async def _enter(self, request: web.Request, session: Session) -> web.StreamResponse:
        """A new cookie at every log-in, so that one planted before is worth nothing. What configd told with the log-in, it tells
        once: the first page says it."""
        await self._close(self._log_ins.close(request.cookies.get(COOKIE, "")))
        cookie, held, evicted = self._log_ins.open(session)
        held.notes.extend(Note(notice, good=False) for notice in session.notices)
        for old in evicted:
            await self._close(old)
        answer = web.Response(status=303, headers={"Location": "/"})
        answer.set_cookie(COOKIE, cookie, secure=True, httponly=True, samesite="Strict", path="/")
        answer.del_cookie(FORM_COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
        return answer

    async def _logout(self, request: web.Request) -> web.StreamResponse:
        await self._close(self._log_ins.close(request.cookies.get(COOKIE, "")))
        answer = web.Response(status=303, headers={"Location": "/login"})
        answer.del_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
        return answer

    async def _status(self, request: web.Request) -> web.StreamResponse:
        held: LogIn = request[LOG_IN]
        try:
            found = await self._gathered(held)
        except Refused:
            self._log_ins.close(request.cookies.get(COOKIE, ""))
            return web.json_response({"title": "Authentication required"}, status=401)
        return web.Response(body=msgspec.json.encode(found), content_type="application/json")

    async def _gathered(self, held: LogIn) -> facts.Status:
        """The facts for one person, whose idle time starts again. Raises `Refused` when configd has ended the session."""
        session = await self._client.call(Touch(session=held.session.handle), Session)
        self._log_ins.use(held)
        return await facts.gather(self._client, session.handle, session.notices)

    async def _style(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(text=self._pages.style, content_type="text/css")

    def _form(self, request: web.Request, *, status: int = 200, words: str = "", user: str = "") -> web.Response:
        # A browser that has a token keeps it: its request for an icon, which also ends here, must not void the open form.
        known = request.cookies.get(FORM_COOKIE, "")
        token = known if TOKEN.fullmatch(known) else secrets.token_urlsafe(TOKEN_BYTES)
        page = self._pages.login(token, status=status, words=words, user=user[:USER_CHARACTERS])
        page.set_cookie(FORM_COOKIE, token, secure=True, httponly=True, samesite="Strict", path="/")
        return page

    async def _close(self, held: LogIn | None) -> None:
        """End configd's session too. Whether it still knows it does not matter: it also ends idle ones by itself."""
        if held is not None:
            with contextlib.suppress(Refused, Unreachable):
                await self._client.call(CloseSession(session=held.session.handle))

    async def _sweeping(self, _app: web.Application) -> AsyncIterator[None]:
        """While the application runs, abandoned sessions are closed."""
        task = asyncio.create_task(self._sweep())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for held in self._log_ins.take_idle():
                await self._close(held)
