"""The table of routes, made handlers: who is here, whether their role may, and what configd's refusals become."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from appliance.config.schema import Schema
from appliance.configd.api import Refusal, Session, Touch
from appliance.configd.client import Refused
from appliance.portal.desk import Caller, Desk
from appliance.portal.gate import COOKIE, LOG_IN, STREAMS, form_of
from appliance.portal.pages import Pages
from appliance.portal.routes import ENDED, Route, routes
from appliance.portal.sessions import LogIn, LogIns
from appliance.portal.visit import LIVE, Visit

STATUS = {
    "permission": 403,
    "privilege": 403,
    "authentication": 403,
    "locked": 403,
    "conflict": 409,
    "invalid": 422,
    "lockout": 422,
}
"""What a refusal that no page has a place for is answered with; the others are 503."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ServePages:
    """Puts the pages into an application."""

    def __init__(self, schema: Schema, client: Caller, pages: Pages, log_ins: LogIns, host: str) -> None:
        self.routes = routes(schema)
        self._desk = Desk(client)
        self._pages = pages
        self._log_ins = log_ins
        self._host = host

    def add_to(self, app: web.Application) -> None:
        """Every row of the table becomes a route."""
        app.on_shutdown.append(self._stop)  # type: ignore[arg-type]  # as for `harden` in `app`: aiohttp calls with one argument
        for route in self.routes:
            app.router.add_route(route.method, route.path, self._handler(route))
            if route.method == "GET":
                app.router.add_route("HEAD", route.path, self._handler(route))

    def _handler(self, route: Route) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            held: LogIn = request[LOG_IN]
            if held.session.role not in route.roles:
                allowed = ", ".join(sorted(route.roles))
                return self._pages.error(403, f"The role {held.session.role} may not do this; allowed: {allowed}.")
            if held.session.password_ended and route.path != ENDED:  # configd serves nothing else
                return web.Response(status=303, headers={"Location": ENDED})
            reads = route.method == "POST" and (route.method, route.path) not in STREAMS
            form = await form_of(request) if reads else {}
            visit = Visit(request, held, self._desk, self._pages, self._host, form, self._alive(request, held))
            if LIVE not in request.query:
                self._log_ins.use(held)
            try:
                return await route.page(visit)
            except Refused as refused:
                return await self._refused(visit, refused.refusal)

        return handler

    def _alive(self, request: web.Request, held: LogIn) -> Callable[[], bool]:
        return lambda: self._log_ins.find(request.cookies.get(COOKIE, "")) is held

    async def _stop(self, _app: web.Application) -> None:
        self._desk.stopping.set()

    async def _refused(self, visit: Visit, refusal: Refusal) -> web.StreamResponse:
        if refusal.kind == "session":
            self._log_ins.close(visit.request.cookies.get(COOKIE, ""))
            return visit.go("/login")
        if refusal.kind == "permission" and await self._ended_meanwhile(visit):
            return visit.go(ENDED)
        words = "\n".join((refusal.message, *refusal.problems[1:]))
        return self._pages.error(STATUS.get(refusal.kind, 503), words)

    @staticmethod
    async def _ended_meanwhile(visit: Visit) -> bool:
        """Whether the password has ended since the person came in."""
        try:
            visit.held.session = await visit.call(Touch, Session)
        except Refused:
            return False
        return visit.held.session.password_ended
