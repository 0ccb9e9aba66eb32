"""The tickets that configd gives out for the certificates that were shown here."""

import base64
import logging

from appliance.configd.api import PresentCertificate, WithdrawCertificate
from appliance.configd.client import AsyncClient, Refused, Unreachable

SECONDS = 5.0  # configd only writes it down; a person waits meanwhile, and can still log in by password

_log = logging.getLogger(__name__)


class Desk:
    """Asks configd over `client`. What configd refuses or does not answer is a connection without a ticket: its people get the
    log-in page, which says so."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def present(self, certificate: bytes, source: str) -> str:
        """The ticket for a certificate (DER) that was shown from `source`; "" where configd gives none."""
        try:
            shown = PresentCertificate(certificate=base64.b64encode(certificate).decode("ascii"), source=source)
            return await self._client.call(shown, str)
        except (Refused, Unreachable) as error:
            _log.warning("no ticket for a certificate from %s: %s", source, error)
            return ""

    async def withdraw(self, ticket: str) -> None:
        """The connection of this ticket is over. configd forgets tickets by itself, too, when it does not hear of it."""
        try:
            await self._client.call(WithdrawCertificate(ticket=ticket))
        except (Refused, Unreachable) as error:
            _log.info("a ticket could not be withdrawn: %s", error)
