"""An administrator's browser at the portal of the running appliance, with one of the lab's cards or a password."""

import re

import requests

from images.paths import Layout
from tests.lab import Lab

SECONDS = 30.0


def browser(lab: Lab, layout: Layout, card: str = "") -> requests.Session:
    """A browser with this card."""
    session = lab.http()
    if card:
        session.cert = (str(layout.lab / f"{card}.pem"), str(layout.lab / f"{card}.key"))
    return session


def enter(lab: Lab, session: requests.Session) -> tuple[int, str]:
    """Press `log in with certificate`: the status, and what the page says went wrong."""
    return _send(lab, session, "/login/certificate")


def enter_by_password(lab: Lab, session: requests.Session, user: str, password: str) -> tuple[int, str]:
    """Type a name and a password: the same."""
    return _send(lab, session, "/login", user=user, password=password)


def _send(lab: Lab, session: requests.Session, path: str, **fields: str) -> tuple[int, str]:
    page = session.get(f"{lab.portal_url}/login", timeout=SECONDS).text
    token = re.search(r'name="token" value="([^"]+)"', page)
    assert token is not None
    answer = session.post(
        f"{lab.portal_url}{path}",
        data={"token": token[1], **fields},
        headers={"Origin": lab.portal_url},
        timeout=SECONDS,
        allow_redirects=False,
    )
    said = re.search(r'role="alert">(.*?)</p>', answer.text, re.DOTALL)
    return answer.status_code, said[1] if said else ""
