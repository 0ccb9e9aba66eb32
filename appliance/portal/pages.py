"""Pages from templates: escaped, with nothing left undefined."""

from pathlib import Path

import jinja2
from aiohttp import web

from appliance.portal.facts import Status
from appliance.portal.sessions import LogIn

_HERE = Path(__file__).parent


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
        self.style = (_HERE / "static" / "portal.css").read_text(encoding="utf-8")

    def login(self, token: str, *, status: int = 200, words: str = "", user: str = "") -> web.Response:
        """The log-in page; `words` says why the last attempt did not work."""
        shown = {"banner": self._banner, "certificates": self._certificates}
        return self._page("login.html.j2", status, token=token, words=words, user=user, **shown)

    def status(self, held: LogIn, found: Status) -> web.Response:
        """The status page."""
        return self._page("status.html.j2", 200, found=found, session=held.session, token=held.csrf)

    def error(self, status: int, words: str) -> web.Response:
        """A page that says what the person can do, and nothing of the inside."""
        return self._page("error.html.j2", status, code=status, words=words)

    def _page(self, name: str, status: int, /, **values: object) -> web.Response:
        text = self._templates.get_template(name).render(**values)
        return web.Response(status=status, text=text, content_type="text/html")
