"""A 16.1 client in a process of its own: pyactivesync 0.17.0, from a folder apart from the virtual environment's version.

`python newer.py FOLDER PORT CA DEVICE USER` reads the password from standard input, provisions, lists the folders, and
prints them as JSON; what the library refuses is printed as `{"error": ...}`.
"""

import json
import sys
from typing import Any

import requests.adapters


class ToTheGateway(requests.adapters.HTTPAdapter):
    """Dials an address and expects the gateway's name."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        options |= {"assert_hostname": "mail.lab.test", "server_hostname": "mail.lab.test"}
        super().init_poolmanager(*arguments, **options)


def main(folder: str, port: str, ca: str, device: str, user: str) -> None:
    """Play the device."""
    sys.path.insert(0, folder)
    from pyactivesync import Client  # noqa: PLC0415 - from that folder
    from pyactivesync.exceptions import EASError  # noqa: PLC0415

    client = Client(f"127.0.0.1:{port}", user, sys.stdin.read(), device_id=device, device_type="iPhone")
    session = client._transport.session
    session.verify, session.trust_env = ca, False
    session.mount("https://", ToTheGateway())
    try:
        with client:
            said: dict[str, Any] = {"folders": [one.name for one in client.list_folders()]}
    except (EASError, requests.RequestException) as error:
        said = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(said))  # noqa: T201 - a command-line tool


if __name__ == "__main__":
    main(*sys.argv[1:])
