"""One request of a person who is logged in: whose session, what was sent, and the frame that every page stands in."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar, overload

import msgspec
from aiohttp import web
from multidict import MultiDict, MultiDictProxy

from appliance.configd.api import (
    Change,
    DiffConfig,
    Reauthenticate,
    ReauthenticateCertificate,
    Role,
    Session,
    Show,
    Shown,
    Text,
    Touch,
)
from appliance.configd.client import Refused
from appliance.portal.desk import Desk
from appliance.portal.pages import Pages
from appliance.portal.reading import Posted
from appliance.portal.serving import preface_of
from appliance.portal.sessions import LogIn, Note
from appliance.portal.showing import pairs

LIVE = "live"
"""The query word of a page that renews itself: nobody has done anything, so it keeps no session from becoming idle."""
OWN_PASSWORD = "own_password"  # noqa: S105 - the name of a form's field
OWN_CARD = "own_card"
"""The field of a form by which a person without a password says that their card was shown again with this request."""
PASSWORD_CHARACTERS = 512

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A commit that waits for confirmation: in whose words, and how many whole minutes are left."""

    words: str
    returns_to: str
    at: str
    minutes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What stands around a page: who is here, what was told, what is changed and not committed, what waits."""

    host: str
    user: str
    role: Role
    token: str
    last_login: str
    notices: tuple[str, ...]
    notes: tuple[Note, ...]
    changes: tuple[Change, ...]
    waiting: Waiting | None
    fresh_seconds: int
    by_certificate: bool
    by_directory: bool
    where: str


@dataclass(slots=True)
class Visit:
    """`host` is the appliance's own name; `form` is empty for a look; `alive` says whether the log-in still holds."""

    request: web.Request
    held: LogIn
    desk: Desk
    pages: Pages
    host: str
    form: Mapping[str, Any] = field(default_factory=dict)
    alive: Callable[[], bool] = lambda: True

    @property
    def posted(self) -> Posted:
        """The form with all the values of each name."""
        return self.form if isinstance(self.form, MultiDictProxy) else MultiDictProxy(MultiDict(self.form))

    @property
    def role(self) -> Role:
        """Of the person."""
        return self.held.session.role

    @property
    def handle(self) -> str:
        """Of configd's session."""
        return self.held.session.handle

    def word(self, name: str, default: str = "") -> str:
        """A field of the form as text without blanks around it."""
        found = self.form.get(name, default)
        return found.strip() if isinstance(found, str) else default

    def asked(self, name: str, default: str = "") -> str:
        """A word of the query."""
        return self.request.query.get(name, default).strip()

    @overload
    async def call(self, verb: Any, result_type: type[T], **fields: Any) -> T: ...
    @overload
    async def call(self, verb: Any, result_type: Any = Any, **fields: Any) -> Any: ...
    async def call(self, verb: Any, result_type: Any = Any, **fields: Any) -> Any:
        """Send a verb of this session. Raises `Refused` or `Unreachable`."""
        return await self.desk.call(verb(session=self.handle, **fields), result_type)

    async def show(self, topic: str, argument: str = "") -> Shown:
        """A topic; what configd or those behind it say instead is a `Text` with these words. An ended session is raised."""
        try:
            found: Shown = await self.call(Show, Shown, topic=topic, argument=argument)
            return found
        except Refused as refused:
            if refused.refusal.kind == "session":
                raise
            return Text(title=topic, lines=(f"not available: {refused.refusal.message}",))

    async def prove(self) -> None:
        """Give configd the person's own password, where the form has it, or the ticket of this connection, where it says that the
        card was shown again. Raises `Refused` when it is wrong or locked."""
        if self.form.get(OWN_CARD):
            preface = preface_of(self.request)
            await self.call(ReauthenticateCertificate, Session, ticket=preface.ticket if preface else "")
            return
        password = self.form.get(OWN_PASSWORD, "")
        if isinstance(password, str) and 0 < len(password) <= PASSWORD_CHARACTERS:
            await self.call(Reauthenticate, Session, password=password)

    def say(self, words: str, *, good: bool = True) -> None:
        """Tell the person on the next page they see."""
        self.held.notes.append(Note(words, good=good))

    def go(self, place: str) -> web.Response:
        """To another page, after something was done (RFC 9110 15.4.4)."""
        return web.Response(status=303, headers={"Location": place})

    async def frame(self) -> Frame:
        """Everything around the page. Raises `Refused` when the session has ended."""
        session, changes, waiting = await asyncio.gather(self._session(), self._changes(), self._waiting())
        notes, self.held.notes = tuple(self.held.notes), []
        return Frame(
            host=self.host,
            user=session.user,
            role=session.role,
            token=self.held.csrf,
            last_login=session.last_login,
            notices=session.notices,
            notes=notes,
            changes=changes,
            waiting=waiting,
            fresh_seconds=session.fresh_seconds,
            by_certificate=session.by_certificate,
            by_directory=session.by_directory,
            where=self.request.path,
        )

    async def _session(self) -> Session:
        """The session, whose idle time starts again unless the page only renews itself."""
        if LIVE in self.request.query:
            return msgspec.structs.replace(self.held.session, notices=(), fresh_seconds=0)
        self.held.session = await self.call(Touch, Session)
        return self.held.session

    async def _changes(self) -> tuple[Change, ...]:
        if self.role != "administrator":
            return ()
        return await self.call(DiffConfig, tuple[Change, ...])

    async def _waiting(self) -> Waiting | None:
        facts = pairs(await self.show("confirmation"))
        if facts.get("waiting", "no") == "no":
            return None
        at = facts.get("at", "")
        return Waiting(facts["waiting"], facts.get("returns to", ""), at, _minutes_until(at))

    async def page(self, name: str, /, *, status: int = 200, frame: Frame | None = None, **values: Any) -> web.Response:
        """The page of the template `name` in its frame."""
        return self.pages.framed(name, status, frame or await self.frame(), **values)


def _minutes_until(stamp: str) -> int:
    """Whole minutes until a time in UTC, as configd writes it; 0 when it is over or not to be read."""
    try:
        when = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    except ValueError:
        return 0
    return max(0, int((when - datetime.now(UTC)).total_seconds() // 60))
