"""The verbs about certificates: a request for the site's authority, what it answers, and a new one of the appliance's own.

What is uploaded goes into the session's candidate, its key into the secret store or, where it was made here, nowhere at all; the
commit puts both in place, and a rollback brings back what was before.
"""

import base64
import binascii
import re
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from appliance import chains, keyring, obtained, pki, served
from appliance.apply import Engine
from appliance.configd import api
from appliance.configd.bringing import bring
from appliance.configd.candidates import Candidates
from appliance.configd.errors import refused
from appliance.configd.ordering import order
from appliance.configd.sessions import Held
from appliance.features import certificates as feature
from appliance.features.base import Problem
from appliance.plan import InvalidError
from appliance.process import CommandError

PKCS12_BYTES = 65_536  # a key and ten certificates are a third of this
PASSWORD_CHARACTERS = 512
OWN = {"client": "agent", **{service: service for service in served.SERVICES}}
"""The certificates that can be made anew, and their names in `appliance.pki`; `client` is what the agent shows the UEM."""

_BLOCK = re.compile(r"-----BEGIN ([A-Z ]+)-----\n[A-Za-z0-9+/=\n]+-----END \1-----\n")
PKCS12 = "a PKCS12 file in base64 with one key, its certificate and the authorities above it"
READABLE = (
    f"{PKCS12}, and its password. It must be encrypted with AES (PBES2): `openssl pkcs12 -export` of OpenSSL 3 does that, older "
    "programs use RC2 or 3DES, which are not approved"
)


def _wall_clock() -> datetime:
    return datetime.now(UTC)


class Certificates:
    """The verbs. `clock` says what time it is."""

    def __init__(self, engine: Engine, candidates: Candidates, *, clock: Callable[[], datetime] = _wall_clock) -> None:
        self._engine = engine
        self._candidates = candidates
        self._clock = clock

    def request(self, verb: api.RequestCertificate, held: Held) -> api.Text:
        """Make a key and a request for it. Both lie on the appliance at once and outlive the candidate."""
        tree, machine = self._candidates.of(held).tree, self._engine.machine
        if "hostname" not in tree:
            raise refused("invalid", "found no hostname; a request is for a name: set hostname first")
        names = pki.requested_names(tree, verb.service)
        kind = served.settings(tree, verb.service).get("key_type", "p256")
        subject = tree["certificates"].get("subject", {})
        text = keyring.make_request(verb.service, kind, subject, names, machine)
        keyring.forget(keyring.needed([*self._engine.store.trees(), tree], tuple(served.SERVICES), machine), machine)
        return api.Text(title=f"request of {verb.service}", lines=tuple(text.splitlines()))

    def upload(self, verb: api.UploadCertificate, held: Held) -> api.Text:
        """Put a certificate, whose key was made here, into the candidate."""
        path = self._path(verb.service, second=verb.second)
        chain = self._checked(path, verb.certificate, held, second=verb.second)
        if keyring.key_for(chain, self._engine.machine) is None:
            raise InvalidError(
                [
                    Problem(
                        path,
                        "a certificate for a key that was not made on this appliance",
                        "the answer to a request of this appliance, or a PKCS12 file with the key",
                    )
                ]
            )
        return self._put(verb, held, chain, key="")

    def upload_pkcs12(self, verb: api.UploadPkcs12, held: Held) -> api.Text:
        """Put a certificate and its key into the candidate."""
        path = self._path(verb.service, second=verb.second)
        key, certificates = self._opened(path, verb)
        chain = self._checked(path, certificates, held, second=verb.second)
        if chains.name_of_private(key) != chains.key_name(chain[0].public_key()):
            raise InvalidError(
                [Problem(path, "the key of another certificate", f"the key of {chains.subject(chain[0])}")]
            )
        return self._put(verb, held, chain, key=key)

    def renew(self, verb: api.RenewCertificate, _held: Held) -> api.Text:
        """Make a certificate of the appliance's own anew, now; or order one, where it comes from an ACME server."""
        name, tree = OWN[verb.service], self._candidates.running()
        if name in obtained.places(tree):
            order(tree, name, self._engine.machine, self._engine.store.trees())
            said = f"A certificate is ordered; `show certificates {verb.service}` says what becomes of it."
            return api.Text(title="ordered", lines=(said,))
        if served.choice(tree, name, self._clock()) is not None:
            raise refused(
                "invalid", f"the certificate of {verb.service} was uploaded; the authority that made it makes the next"
            )
        made = bring(self._engine, clock=self._clock, anew=(name,))
        return api.Text(title="renewed", lines=(f"New certificates: {', '.join(made) or 'none'}.",))

    # --- what was given ------------------------------------------------------------------------------------------

    @staticmethod
    def _path(service: str, *, second: bool) -> str:
        return f"{feature.PATH}.{served.SERVICES[service]}" + (".second" if second else "") + ".certificate"

    def _checked(self, path: str, text: str, held: Held, *, second: bool) -> chains.Chain:
        """The chain, if nothing is wrong with it; raises `InvalidError` with everything that is."""
        hostname = str(self._candidates.of(held).tree.get("hostname", ""))
        problems = list(feature.verify_chain(path, text, hostname))
        if not problems:
            chain = chains.read(text)
            problems = [
                Problem(path, flaw.found, flaw.allowed) for flaw in chains.dated(chain, self._clock(), ahead=second)
            ]
            if not problems:
                return chain
        raise InvalidError(problems)

    def _opened(self, path: str, verb: api.UploadPkcs12) -> tuple[str, str]:
        """The key and the certificates of a PKCS12 file (RFC 7292), each as PEM; raises `InvalidError`.

        Its MAC is not looked at: the key derivation it needs (PKCS12KDF) is not approved, and the FIPS provider does not have it.
        What a MAC would show is seen otherwise: the key must be the certificate's, and the chain must hold.
        """
        data = _decoded("".join(verb.pkcs12.split()))
        if data is None or len(verb.password) > PASSWORD_CHARACTERS or not verb.password.isprintable():
            raise InvalidError([Problem(path, "what is no PKCS12 file in base64 with a password", READABLE)])
        # openssl reads the password from its standard input, so the file, which is encrypted with it, has to be one.
        with tempfile.NamedTemporaryFile(prefix="pkcs12-") as file:
            file.write(data)
            file.flush()
            argv = ["openssl", "pkcs12", "-in", file.name, "-passin", "stdin", "-noenc", "-nomacver"]
            try:
                opened = self._engine.machine.run(argv, stdin=f"{verb.password}\n")
            except CommandError:  # its words are not passed on: they may be followed by the key
                raise InvalidError([Problem(path, "a file that this password does not open", READABLE)]) from None
        blocks = [(found[1], found[0]) for found in _BLOCK.finditer(opened)]
        keys = [text for kind, text in blocks if kind.endswith("PRIVATE KEY")]
        if len(keys) != 1:
            raise InvalidError([Problem(path, f"{len(keys)} keys in the file", PKCS12)])
        return keys[0], "".join(text for kind, text in blocks if kind == "CERTIFICATE")

    def _put(
        self, verb: api.UploadCertificate | api.UploadPkcs12, held: Held, chain: chains.Chain, *, key: str
    ) -> api.Text:
        setting = served.SERVICES[verb.service]
        before: Mapping[str, Any] = self._candidates.of(held).tree["certificates"]["servers"][setting]
        made: dict[str, Any] = {"certificate": chains.pem(chain), **({"key": key} if key else {})}
        if verb.second:
            after = {**before, "second": {**made, **({"from": verb.moment} if verb.moment else {})}}
        else:
            kept = {name: value for name, value in before.items() if name not in ("certificate", "key")}
            if self._in_charge(held, verb.service) == "second":
                kept.pop("second", None)  # it has taken over; else what is uploaded now would never be shown
            after = {**kept, **made}
        self._candidates.set(held, ("certificates", "servers", setting), after)
        when = f"It takes over at {verb.moment}." if verb.moment else "It takes over when the first ends."
        return api.Text(
            title=f"certificate of {verb.service}",
            lines=(
                f"subject      {chains.subject(chain[0])}",
                f"issuer       {chains.issuer(chain[0])}",
                f"names        {', '.join(chains.names_of(chain[0]))}",
                f"ends         {chain[0].not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
                f"fingerprint  {chains.fingerprint(chain[0])}",
                *((when,) if verb.second else ()),
                "It is in the candidate; `commit` makes it real.",
            ),
        )

    def _in_charge(self, held: Held, service: str) -> str:
        chosen = served.choice(self._candidates.of(held).tree, service, self._clock())
        return chosen.which if chosen else ""


def _decoded(text: str) -> bytes | None:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if 0 < len(data) <= PKCS12_BYTES else None
