"""The talk with the ACME server (RFC 8555), by certbot's library `acme`; blocking, one attempt at a time."""

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from acme import challenges, client, errors, messages
from josepy.errors import Error as JoseError
from josepy.jwa import ES256
from josepy.jwk import JWKEC
from josepy.util import ComparableECKey

from appliance.acme.api import WORDS_CHARACTERS
from appliance.acme.keep import Keep
from appliance.acme.orders import Order
from appliance.acme.settings import Settings
from appliance.acme.way import ANSWER_SECONDS, Way, WayError, session_over
from appliance.alerts.happening import plain
from appliance.client_tls import client_context
from appliance.state_file import KeepError

PROOF_SECONDS = 120  # until the server has looked at all proofs; those of public authorities take some seconds
ISSUE_SECONDS = 120  # until it has issued
RESUME_SECONDS = 20  # until it has said what became of an order of before a restart
USER_AGENT = "Sentry appliance"
GONE = "urn:ietf:params:acme:error:accountDoesNotExist"


class TalkError(RuntimeError):
    """No certificate was got: the message says why in one line; `hold` for how many seconds the server wants to be left alone."""

    def __init__(self, words: str, *, hold: float | None = None) -> None:
        self.hold = hold
        super().__init__(plain(" ".join(words.split()) or "no reason given", WORDS_CHARACTERS))


@dataclass(frozen=True, slots=True)
class Notes:
    """Whom the talk tells what must be written down before it goes on. `account`: our account's URL, "" when it is gone;
    `finalizing`: the URL of the order whose request is sent next."""

    account: Callable[[str], None]
    finalizing: Callable[[str], None]


def obtain(
    settings: Settings, keep: Keep, account: str, order: Order, proofs: MutableMapping[str, str], notes: Notes
) -> str:
    """A certificate for the order's request with the authorities below the root, as PEM. `proofs` is given what port 80 must
    answer meanwhile. Raises `TalkError`."""
    way: Way | None = None
    try:
        way = Way(client_context(settings, WayError))
        try:
            return _obtained(_Talk(settings, keep, way, account, notes), order, proofs)
        except messages.Error as error:
            if error.typ != GONE or not account:
                raise
        notes.account("")  # the server forgot it: it is made anew
        return _obtained(_Talk(settings, keep, way, "", notes), order, proofs)
    except _TROUBLE as error:
        raise TalkError(_why(error), hold=way.hold if way is not None else None) from error
    finally:
        proofs.clear()


def _obtained(talk: "_Talk", order: Order, proofs: MutableMapping[str, str]) -> str:
    return talk.fetched(order) or talk.issued(order, proofs)


class _Talk:
    """One attempt: the account, then the order. Raises what `_TROUBLE` lists."""

    def __init__(self, settings: Settings, keep: Keep, way: Way, account: str, notes: Notes) -> None:
        self._settings = settings
        self._notes = notes
        self._key = JWKEC(key=ComparableECKey(keep.account_key()))
        network = client.ClientNetwork(self._key, alg=ES256, user_agent=USER_AGENT, timeout=int(ANSWER_SECONDS))
        # `requests` loads this file into our context once more; without it, it would load public authorities there.
        network.verify_ssl = settings.trust  # type: ignore[assignment]
        session_over(way, network.session)
        directory = client.ClientV2.get_directory(settings.directory, network)
        self._client = client.ClientV2(directory, network)
        if account:
            network.account = messages.RegistrationResource(uri=account, body=messages.Registration())
        else:
            notes.account(self._registered())

    def _registered(self) -> str:
        """Our account's URL, made now or found by its key (RFC 8555 7.3)."""
        wanted = self._registration()
        try:
            made = self._client.new_account(wanted)
        except errors.ConflictError as known:
            here = messages.RegistrationResource(uri=known.location, body=wanted)
            made = self._client.update_registration(here, messages.Registration(contact=wanted.contact))
        return str(made.uri)

    def _registration(self) -> messages.NewRegistration:
        settings, directory = self._settings, self._client.directory
        terms = directory.meta.terms_of_service
        if terms and not settings.terms_agreed:
            raise WayError(f"the server asks for agreement to {terms}; set certificates.acme.terms_agreed to agree")
        fields: dict[str, Any] = {"contact": tuple(f"mailto:{one}" for one in settings.contacts)}
        if terms:
            fields["terms_of_service_agreed"] = True
        if settings.binding is not None:
            try:
                secret = Path(settings.binding.key_path).read_text(encoding="ascii").strip()
            except OSError as error:
                raise WayError(f"the file of the binding's key cannot be read: {error.strerror}") from error
            fields["external_account_binding"] = messages.ExternalAccountBinding.from_data(
                self._key.public_key(), settings.binding.key_id, secret, directory
            )
        elif self._client.external_account_required():
            raise WayError("the server wants accounts that are bound to one of its own; set certificates.acme.binding")
        return messages.NewRegistration(**fields)

    def fetched(self, order: Order) -> str:
        """The certificate of an order whose request was sent before the process ended; "" where there is none."""
        if not order.finalizing:
            return ""
        here = messages.OrderResource(uri=order.finalizing, body=messages.Order(), csr_pem=order.request.encode())
        try:
            return str(self._client.poll_finalization(here, _in(RESUME_SECONDS)).fullchain_pem)
        except (messages.Error, errors.Error):  # it is gone, failed or was never sent: then it is asked for again
            return ""

    def issued(self, order: Order, proofs: MutableMapping[str, str]) -> str:
        """The certificate of a new order."""
        made = self._client.new_order(order.request.encode())
        for one in made.authorizations:
            self._prove(one, proofs)
        proven = self._client.poll_authorizations(made, _in(PROOF_SECONDS))
        self._notes.finalizing(str(proven.uri))
        sent = self._client.begin_finalization(proven)
        return str(self._client.poll_finalization(sent, _in(ISSUE_SECONDS)).fullchain_pem)

    def _prove(self, authorization: messages.AuthorizationResource, proofs: MutableMapping[str, str]) -> None:
        """Show the server that the name is ours: by http-01, and by nothing else."""
        body = authorization.body
        if body.status != messages.STATUS_PENDING:
            return
        offered = {one.chall.typ: one for one in body.challenges}
        chosen = offered.get(challenges.HTTP01.typ)
        if chosen is None:
            said = ", ".join(sorted(offered)) or "nothing"
            raise WayError(f"the server offers {said} to prove {body.identifier.value}; allowed: http-01")
        response, proof = chosen.response_and_validation(self._key)
        proofs[chosen.chall.encode("token")] = proof
        self._client.answer_challenge(chosen, response)


_TROUBLE = (
    errors.Error,
    messages.Error,
    JoseError,
    requests.RequestException,
    WayError,
    KeepError,
    OSError,
    ValueError,
    LookupError,
    AttributeError,  # a field of RFC 8555 that the server's answer does not have
    TypeError,  # or has as something else
)


def _in(seconds: int) -> datetime:
    # The library compares with the local time without a zone.
    return datetime.now() + timedelta(seconds=seconds)  # noqa: DTZ005


def _why(error: Exception) -> str:
    words = next((words for kind, words in _WORDS if isinstance(error, kind)), None)
    if words is not None:
        return words(error)
    return f"the server answers otherwise than RFC 8555 has it: {str(error) or type(error).__name__}"


def _said(error: messages.Error) -> str:
    kind = str(error.typ).removeprefix("urn:ietf:params:acme:error:")
    inner = "; ".join(_said(one) for one in error.subproblems or ())
    return ": ".join(filter(None, (kind, error.detail or error.title or "", inner)))


def _not_proven(authorization: messages.AuthorizationResource) -> str:
    body = authorization.body
    said = map(_said, filter(None, (one.error for one in body.challenges)))
    return f"{body.identifier.value} is not proven: {'; '.join(said)}"


def _strange(error: errors.ClientError) -> str:
    answer = error.args[0] if error.args else None
    status = f"{answer.status_code}, and " if isinstance(answer, requests.Response) else ""
    return f"the server answers {status}not as RFC 8555 has it{'' if status else f': {error}'}"


_WORDS: tuple[tuple[type[Exception], Callable[[Any], str]], ...] = (
    (messages.Error, _said),
    (errors.IssuanceError, lambda error: f"the order failed: {_said(error.error)}"),
    (errors.ValidationError, lambda error: "; ".join(_not_proven(one) for one in error.failed_authzrs)),
    (errors.TimeoutError, lambda _error: "the server came to no end in time"),
    (errors.ClientError, _strange),
    (requests.TooManyRedirects, lambda _error: "the server leads elsewhere, which is not followed"),
    (requests.exceptions.SSLError, lambda error: f"the server's TLS is refused: {_reason(error)}"),
    (requests.Timeout, lambda _error: "the server does not answer in time"),
    (requests.ConnectionError, lambda error: f"the server cannot be reached: {_reason(error)}"),
    (requests.RequestException, str),
    (WayError, str),
    (KeepError, str),
    (JoseError, lambda error: f"the server answers otherwise than RFC 8555 has it: {error}"),
    (ValueError, str),  # as which the library tells of a connection that was refused
)
"""What is said of each kind of trouble; the first that fits."""


def _reason(error: requests.RequestException) -> str:
    """The innermost reason: what lies around it names our own objects."""
    inner: Any = error
    while (below := _below(inner)) is not None:
        inner = below
    return str(getattr(inner, "verify_message", "") or getattr(inner, "strerror", "") or inner)


def _below(error: Any) -> BaseException | None:
    found = getattr(error, "reason", None)
    if isinstance(found, BaseException):
        return found
    held = error.args[0] if error.args else None
    return held if isinstance(held, BaseException) else error.__cause__
