"""Pages from templates: escaped, with nothing left undefined."""

from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from aiohttp import web

from appliance.portal import charts

if TYPE_CHECKING:
    from appliance.portal.visit import Frame

_HERE = Path(__file__).parent
MENU = (
    ("/", "Dashboard"),
    ("/devices", "Devices"),
    ("/services", "Services"),
    ("/settings", "Settings"),
    ("/certificates", "Certificates"),
    ("/people", "People"),
    ("/logs", "Logs"),
    ("/facts", "Facts"),
    ("/compliance", "Compliance"),
    ("/stig", "STIG"),
    ("/revisions", "Revisions"),
    ("/tools", "Tools"),
    ("/software", "Software"),
    ("/support", "Support"),
    ("/power", "Power"),
)
"""Every page's menu."""
ADMINISTRATORS_ONLY = frozenset({"/power", "/support"})
"""What of the menu the other roles are not shown; a test holds the menu against the table of routes."""


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
        menu = [one for one in MENU if frame.role == "administrator" or one[0] not in ADMINISTRATORS_ONLY]
        return self._page(name, status, **{"menu": menu, "refresh": 0, "live": "", **values, "frame": frame})

    def error(self, status: int, words: str) -> web.Response:
        """A page that says what the person can do, and nothing of the inside."""
        return self._page("error.html.j2", status, code=status, words=words)

    def _page(self, name: str, status: int, /, **values: object) -> web.Response:
        text = self._templates.get_template(name).render(values)
        return web.Response(status=status, text=text, content_type="text/html")
