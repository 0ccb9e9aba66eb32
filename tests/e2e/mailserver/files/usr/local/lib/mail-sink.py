"""SMTP on port 2525 that puts each message straight into the recipients' maildirs (runs inside the mail server)."""

import asyncio
import itertools
import os
import time
from email.utils import parseaddr
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller

MAILBOXES = Path("/srv/mail")
ACCOUNTS = frozenset({"alice", "bob", "carol"})


class Delivery:
    """aiosmtpd's handler: one call per message."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802  # aiosmtpd's name
        """Deliver to every known recipient, or to none."""
        users = [parseaddr(recipient)[1].partition("@")[0].lower() for recipient in envelope.rcpt_tos]
        if unknown := sorted(set(users) - ACCOUNTS):
            return f"550 no such account: {', '.join(unknown)}"
        for user in users:
            self._deliver(user, envelope.content)
        return "250 delivered"

    def _deliver(self, user: str, content: bytes) -> None:
        mailbox = MAILBOXES / user
        for folder in ("tmp", "new", "cur"):
            (mailbox / folder).mkdir(parents=True, exist_ok=True)
        name = f"{time.time_ns()}.P{os.getpid()}Q{next(self._numbers)}.mail"
        (mailbox / "tmp" / name).write_bytes(content)
        (mailbox / "tmp" / name).rename(mailbox / "new" / name)


async def main() -> None:
    """Serve until the service is stopped."""
    controller = Controller(Delivery(), hostname="0.0.0.0", port=2525)  # noqa: S104  # the guest has one network
    controller.start()
    await asyncio.Event().wait()


asyncio.run(main())
