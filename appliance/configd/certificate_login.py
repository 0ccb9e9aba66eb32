"""Log-in by client certificate: what the TLS proxy says was shown, the ticket for it, and whom it logs in."""

import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.configd import accounts, client_certificates
from appliance.configd.client_certificates import CertificateError, Client
from appliance.configd.errors import refused
from appliance.configd.examining import Examine, Standing
from appliance.configd.tickets import Tickets

Tree = Mapping[str, Any]
NOBODY = "unknown"


@dataclass(slots=True)
class Attempt:
    """One log-in, for the audit trail, filled in as far as it comes: from where, by which certificate or by whose word, and whose
    it is. What is empty nobody knows better than the message."""

    source: str = ""
    by: str = ""
    user: str = ""


class CertificateLogIn:
    """`examine` says what is wrong with a certificate, `standing` what the agent has against it; `clock` gives monotonic seconds.
    Safe to use from several threads."""

    def __init__(self, examine: Examine, standing: Standing, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._examine = examine
        self._standing = standing
        self._tickets = Tickets(clock=clock)

    def present(self, tree: Tree, certificate: str, source: str) -> str:
        """A ticket for a certificate (DER in base64) that was shown. Raises `permission` where none are taken, `invalid` for what
        is no base64."""
        _taken(tree)
        try:
            der = base64.b64decode(certificate, validate=True)
        except ValueError as error:
            raise refused("invalid", "certificate: found what is no base64; allowed: DER in base64") from error
        return self._tickets.give(der, source)

    def withdraw(self, ticket: str) -> None:
        """The connection of this ticket is over."""
        self._tickets.withdraw(ticket)

    def redeem(self, tree: Tree, ticket: str, attempt: Attempt) -> tuple[Client, str, str]:
        """The certificate of the ticket, whose account it names, and from where it was shown; `attempt` is told each as it comes
        out. Whether it is good is not known yet.

        Raises `permission` where certificates are not taken, `authentication` where the ticket is none or names nobody.
        """
        attempt.user = NOBODY
        _taken(tree)
        shown = self._tickets.take(ticket)
        if shown is None:
            raise refused("authentication", "Your certificate was shown too long ago. Try again.")
        attempt.source = shown.source
        try:
            client = client_certificates.read(shown.certificate)
            attempt.by = client.shown
            mapping = accounts.certificate_login(tree).mapping
            attempt.user = client_certificates.owner(client, accounts.identities(tree), mapping)
        except CertificateError as error:
            raise refused("authentication", str(error)) from error
        return client, attempt.user, shown.source

    def flaw(self, tree: Tree, client: Client) -> str:
        """What is wrong with a certificate, in a sentence; "" where nothing is."""
        rules = accounts.certificate_login(tree)
        said = self._examine(client.pem, rules.strict and not rules.fetched)
        if not said and rules.strict and rules.fetched:
            said = self._standing(client.pem)
        return f"Your certificate {said}." if said else ""


def _taken(tree: Tree) -> None:
    if accounts.certificate_login(tree).mode == "off":
        raise refused("permission", "log-in by certificate is turned off (portal.certificate_login)")
