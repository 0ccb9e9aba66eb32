"""`sentry-first-boot`: find the user-data, hold it against the schema, and have configd commit it as the first revision.

It runs at each start until there is a revision (its unit's condition). What it did, or what is missing or wrong, is on the
console and in /run/sentry-first-boot/said, which `sentry-setup` shows. Exit status 0: configured, or nothing was found.
1: what was found cannot be used; the machine stays closed.
"""

import sys

from appliance.config.schema import Schema
from appliance.configd import api
from appliance.configd.client import Client, Refused, Unreachable
from appliance.features import FEATURES
from appliance.first_boot import document, places, statement
from appliance.first_boot.document import DocumentError
from appliance.first_boot.found import Found, PlaceError
from appliance.process import CommandError

COMMIT_SECONDS = 900.0  # keys are made and every service starts; a machine without KVM takes minutes for it
SOURCE = "first-boot"


def main() -> int:
    """Look, check, commit, and say so."""
    try:
        platform = places.platform(places.COMMAND_LINE.read_text(encoding="utf-8"))
        found = places.look(platform)
        if found is None:
            return _say(statement.missing(platform), 0)
        committed = commit(found)
    except (PlaceError, CommandError, DocumentError, Unreachable) as error:
        return _say(statement.unusable(error), 1)
    except Refused as error:
        return _say(statement.refused(error), 1)
    return _say(f"This appliance is configured: revision {committed.revision}, from {found.where}.", 0)


def commit(found: Found, socket: str = api.SOCKET) -> api.Committed:
    """Have the document committed. Raises `DocumentError`, `Refused` or `Unreachable`."""
    tree = document.read(found, Schema(FEATURES))
    with Client(socket, seconds=COMMIT_SECONDS) as client:
        session = client.call(api.OpenSession(source=SOURCE, interactive=False), api.Session)
        client.call(api.ReplaceConfig(session=session.handle, tree=tree))
        wanted = api.Commit(session=session.handle, comment=f"{SOURCE}: {found.where}")
        return client.call(wanted, api.Committed)


def _say(text: str, status: int) -> int:
    sys.stdout.write(f"{text}\n")
    statement.keep(text)
    return status


if __name__ == "__main__":
    sys.exit(main())
