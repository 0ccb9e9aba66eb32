"""Pages from templates: escaped, with nothing left undefined."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from aiohttp import web

from appliance.portal import charts

if TYPE_CHECKING:
    from appliance.portal.visit import Frame

_HERE = Path(__file__).parent
MENU = (
    ("Dashboard", (("/", "Dashboard"),)),
    ("Devices", (("/devices", "Devices"),)),
    ("Settings", (("/settings", "Settings"), ("/certificates", "Certificates"), ("/revisions", "Revisions"))),
    ("People", (("/people", "People"), ("/tokens", "Tokens"))),
    (
        "System",
        (("/services", "Services"), ("/software", "Software"), ("/backups", "Backups"), ("/power", "Power")),
    ),
    ("Diagnosis", (("/logs", "Logs"), ("/facts", "Facts"), ("/tools", "Tools"), ("/support", "Support"))),
    ("Compliance", (("/stig", "Scan"), ("/compliance", "What the rules look at"))),
)
"""Every page's menu: groups, and the pages of each. A group's word leads to its first page; all of them stand in a second line
while one of them is shown."""
ADMINISTRATORS_ONLY = frozenset({"/power", "/support", "/tokens", "/backups"})
"""What of the menu the other roles are not shown; a test holds the menu against the table of routes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One word of a menu: where it leads, and whether it is where the person is."""

    place: str
    label: str
    here: bool


@dataclass(frozen=True, slots=True)
class Menu:
    """The groups, and the pages of the one that is shown; none where it has but one."""

    groups: tuple[Entry, ...]
    pages: tuple[Entry, ...]


def menu(where: str, role: str) -> Menu:
    """The menu on the page at the path `where`, for a person of this role."""
    groups: list[Entry] = []
    pages: tuple[Entry, ...] = ()
    for label, listed in MENU:
        allowed = [one for one in listed if role == "administrator" or one[0] not in ADMINISTRATORS_ONLY]
        entries = tuple(Entry(place, words, _is_here(place, where)) for place, words in allowed)
        if not entries:
            continue
        here = any(one.here for one in entries)
        groups.append(Entry(entries[0].place, label, here))
        if here and len(entries) > 1:
            pages = entries
    return Menu(tuple(groups), pages)


def _is_here(place: str, where: str) -> bool:
    """Whether `where` is the page at `place`, or one below it. What one is changing belongs to the settings."""
    if place == "/settings" and (where == "/changes" or where.startswith("/changes/")):
        return True
    return where == place or (place != "/" and where.startswith(f"{place}/"))


class Pages:
    """The portal's pages. `banner` is what must be read before logging in (V-250987); `certificate_login` says whether one may or
    must do so by certificate."""

    def __init__(self, banner: str, *, certificate_login: str = "off") -> None:
        self._banner = banner
        self._certificates = certificate_login
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals["bars"] = charts.bars
        self.style = (_HERE / "static" / "portal.css").read_text(encoding="utf-8")

    def login(self, token: str, *, status: int = 200, words: str = "", user: str = "") -> web.Response:
        """The log-in page; `words` says why the last attempt did not work."""
        shown = {"banner": self._banner, "certificates": self._certificates}
        return self._page("login.html.j2", status, token=token, words=words, user=user, **shown)

    def framed(self, name: str, status: int, frame: "Frame", /, **values: object) -> web.Response:
        """A page in the frame of a person who is logged in."""
        shown = menu(frame.where, frame.role)
        return self._page(name, status, **{"menu": shown, "refresh": 0, "live": "", **values, "frame": frame})

    def password_ended(
        self, token: str, name: str, *, status: int = 200, problems: tuple[str, ...] = ()
    ) -> web.Response:
        """The one page for a person whose password is older than it may be; `name` is theirs."""
        return self._page("ended.html.j2", status, token=token, user=name, problems=problems)

    def error(self, status: int, words: str) -> web.Response:
        """A page that says what the person can do, and nothing of the inside."""
        return self._page("error.html.j2", status, code=status, words=words)

    def _page(self, name: str, status: int, /, **values: object) -> web.Response:
        text = self._templates.get_template(name).render(values)
        return web.Response(status=status, text=text, content_type="text/html")
