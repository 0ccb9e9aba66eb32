"""Who opens a session, shows who they are, and ends it."""

from typing import Annotated

import msgspec

from appliance.configd.api.words import BaseVerb, Handle, Role, Scope, Secret, SessionVerb, Word

ClientCertificate = Annotated[str, msgspec.Meta(max_length=16_384)]  # base64; those of cards are below 3,000 bytes


class OpenSession(BaseVerb, frozen=True, kw_only=True, tag="session.open"):
    """A session for the peer's own Unix account (CLI, automation). Result: `Session`."""

    source: Word = ""
    interactive: bool = True


class Login(BaseVerb, frozen=True, kw_only=True, tag="session.login"):
    """A session by password; only the portal may ask. Result: `Session`. PAM decides on accounts of this appliance, the site's
    directory on other names. Three failures from one source lock the account for that source (`sentry-tally`)."""

    user: Word
    password: Secret
    source: Word


class PresentCertificate(BaseVerb, frozen=True, kw_only=True, tag="certificate.present"):
    """Somebody has proved in a handshake on 8443 to hold the key of this certificate (DER, in base64); only the TLS proxy may
    say so. Result: a ticket (str) for `LoginCertificate`, which is good once and for a short time."""

    certificate: ClientCertificate
    source: Word


class WithdrawCertificate(BaseVerb, frozen=True, kw_only=True, tag="certificate.withdraw"):
    """The connection is over over which the certificate of this ticket was shown; only the TLS proxy may say so. Result: None."""

    ticket: Handle


class LoginCertificate(BaseVerb, frozen=True, kw_only=True, tag="session.login_certificate"):
    """A session by the client certificate that `ticket` stands for; only the portal may ask. Result: `Session`. Where the person
    sits is what the TLS proxy has said."""

    ticket: Handle


class LoginToken(BaseVerb, frozen=True, kw_only=True, tag="session.token"):
    """A session by an API token, which ends with the connection; only the portal may ask, for one request. With the enable
    secret it may do in it what needs that. `candidate`: go on with what this token was editing. Result: `Session`. Three
    tokens that are none lock their source."""

    token: Secret
    source: Word
    enable_secret: Secret = ""
    candidate: bool = False


class Enable(SessionVerb, frozen=True, kw_only=True, tag="session.enable"):
    """Go privileged with the enable secret. Result: `Session`."""

    secret: Secret


class Disable(SessionVerb, frozen=True, kw_only=True, tag="session.disable"):
    """Give up privilege. Result: `Session`."""


class Reauthenticate(SessionVerb, frozen=True, kw_only=True, tag="session.reauthenticate"):
    """The person at the portal gives their password again, which what is risky asks for. Result: `Session`. PAM decides, and
    failures count as those of log-ins do."""

    password: Secret


class ReauthenticateCertificate(SessionVerb, frozen=True, kw_only=True, tag="session.reauthenticate_certificate"):
    """The same for a person who has no password: they show their certificate again, in a handshake of its own, for which `ticket`
    stands. Result: `Session`."""

    ticket: Handle


class Touch(SessionVerb, frozen=True, kw_only=True, tag="session.touch"):
    """The person behind the session did something: idle time starts again. Result: `Session`."""


class CloseSession(SessionVerb, frozen=True, kw_only=True, tag="session.close"):
    """End the session. Result: None."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A log-in. `handle` is unguessable (256 bits) and is the only thing a later verb needs."""

    handle: str
    user: str
    role: Role
    privileged: bool
    idle_seconds: int
    last_login: str = ""
    fresh_seconds: int = 0
    """At the portal: for how long what is risky still goes by the password that was given again."""
    by_certificate: bool = False
    """At the portal: what is risky goes by the certificate that is shown again, because there is no password."""
    by_directory: bool = False
    """Whether the person is one of the site's directory, and has no account here."""
    password_ended: bool = False
    """Whether the account's password is older than it may be: until `SetOwnPassword` is served, nothing else is."""
    notices: tuple[str, ...] = ()
    """What every session should be told, e.g. that an unconfirmed commit was rolled back."""
    scopes: tuple[Scope, ...] = ()
    """Of a token."""
