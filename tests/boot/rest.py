"""A machine's REST interface, as a program outside speaks to it."""

import base64
import http.client
import json
import secrets
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from images.lab.zones import MANAGEMENT
from images.paths import Layout
from tests.boot.machine import AwayError

ADMIN, PORT = "admin", 8443
# A machine that goes down in the middle of an answer says nothing any more.
ANSWER_SECONDS = 180.0
# An update is 300 MB, which a machine without KVM takes slowly; it has half an hour for it.
UPLOAD_SECONDS = 1_900.0
SCOPES = ("read", "configure", "accounts", "services", "power")


@dataclass
class Rest:
    """`layout` has the administrator's passwords; `token` is good once `log_in` was called."""

    layout: Layout
    token: str = ""

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
        """One request; the answer. Raises `AwayError` where none comes, or a part of the machine does not answer."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it may have made its certificate itself
        seconds = UPLOAD_SECONDS if method == "PUT" else ANSWER_SECONDS
        connection = http.client.HTTPSConnection(MANAGEMENT.address, PORT, context=context, timeout=seconds)
        sent = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.connect()
            with suppress(OSError):  # what is refused is answered before all of it is there
                connection.request(method, f"/api/v1{path}", body, sent)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise AwayError(str(error)) from error
        finally:
            connection.close()
        if answer.status == 503:
            raise AwayError(text.decode())
        assert answer.status < 300, (method, path, answer.status, text)
        return json.loads(text) if text else None

    def log_in(self) -> bool:
        """Get a token for all that follows."""
        login = base64.b64encode(f"{ADMIN}:{self.secret('admin.password')}".encode()).decode()
        name = f"test-{secrets.token_hex(4)}"  # whoever got no answer asks again
        wanted = {"name": name, "role": "administrator", "scopes": SCOPES}
        made = self.ask(
            "POST",
            "/tokens",
            json.dumps(wanted).encode(),
            Authorization=f"Basic {login}",
            Sentry_Enable_Secret=self.secret("enable.secret"),
        )
        self.token = made["token"]
        return True

    def secret(self, name: str) -> str:
        """One of the administrator's."""
        return (self.layout.secrets / name).read_text(encoding="utf-8").strip()

    # --- software ----------------------------------------------------------------------------------------------------

    def software(self) -> Any:
        """How its software stands."""
        return self.ask("GET", "/software")

    def good(self) -> Any:
        """The same once what runs has been seen to run well; None before."""
        found = self.software()
        return (
            found if any(one["name"] == found["running"] and one["state"] == "good" for one in found["slots"]) else None
        )

    def written(self) -> Any:
        """The same once the last order has ended; None before."""
        found = self.software()
        return found if found["order"] and found["order"]["standing"] != "running" else None

    def restart(self) -> None:
        """Have it start anew."""
        self.ask("POST", "/system/power", b'{"action": "reload"}')
