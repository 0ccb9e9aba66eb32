"""Log-in to the portal by a client certificate, as on a smart card (CAC, PIV): V-250988, V-250994.

A part of the feature `portal`, which has this group in its schema and puts what is rendered here beside its settings files.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from appliance.features import revocation, values
from appliance.features.base import File, Flow, Problem, Tree
from sentry_runtime.settings import AdministratorCertificates, Revocation

FOLDER = "/var/lib/sentry/tls/administrators"
AUTHORITIES, LISTS = f"{FOLDER}/authorities.pem", f"{FOLDER}/crls.pem"
PATH = "portal.certificate_login"
URLS = 16  # the DoD has as many authorities that issue cards
URL = "a URL such as http://crl.example.com/cards.crl (what lies there is signed, so there is no https)"
MODES = ("off", "optional", "required")
WAYS = ("edipi", "upn", "subject")
LIST_CHARACTERS = (
    1_048_576  # of all lists together: about 20,000 revoked certificates; a whole configuration may have 4 MiB
)

_MALFORMED = (ValueError, TypeError, KeyError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion)


def verify(tree: Tree) -> Iterable[Problem]:
    """What belongs to the mode, chains that end at a root, a list of each authority, and accounts that certificates can name."""
    held = tree["portal"]["certificate_login"]
    yield from _verify_accounts(tree)
    if held["mode"] == "off":
        return
    if "authorities" not in held:
        yield Problem(f"{PATH}.authorities", "nothing", f"certificates: {held['mode']} needs them, or mode off")
        return
    try:
        authorities = x509.load_pem_x509_certificates(held["authorities"].encode())
        lists = lists_of(held["revocation"].get("crls", ""))
    except _MALFORMED as error:
        yield Problem(PATH, f"certificates or lists that cannot be read ({error})", "X.509 certificates and lists")
        return
    yield from _verify_authorities(authorities)
    if held["revocation"]["check"] == "strict" and not _elsewhere(held["revocation"]):
        yield from _verify_lists(authorities, lists)
    if held["mode"] == "required" and not any(is_named(tree, name) for name in _administrators(tree)):
        found = "required, and no administrator whom a certificate could name"
        yield Problem(f"{PATH}.mode", found, "optional, or an administrator with an edipi or certificate of `mapping`")


def _administrators(tree: Tree) -> Iterator[str]:
    accounts = tree["users"]["accounts"].items()
    return (name for name, account in accounts if account["role"] == "administrator")


def is_named(tree: Tree, user: str) -> bool:
    """Whether a certificate can name this account by one of the ways of `mapping`."""
    account = tree.get("users", {}).get("accounts", {}).get(user, {})
    mapping = tree.get("portal", {}).get("certificate_login", {}).get("mapping", ())
    return bool(
        ("edipi" in mapping and account.get("edipi")) or (set(mapping) - {"edipi"} and account.get("certificate"))
    )


def _verify_accounts(tree: Tree) -> Iterator[Problem]:
    """Each person once: a certificate that two accounts claim would log in nobody."""
    accounts = tree["users"]["accounts"]
    for field in ("edipi", "certificate"):
        known = {name: account.get(field, "").lower() for name, account in accounts.items() if account.get(field)}
        often = {text for text, times in Counter(known.values()).items() if times > 1}
        for name, text in known.items():
            if text in often:
                others = ", ".join(one for one in known if known[one] == text and one != name)
                yield Problem(f"users.accounts.{name}.{field}", f"that of {others} too", "each person once")


def lists_of(text: str) -> list[x509.CertificateRevocationList]:
    """The revocation lists in a text (PEM). Raises `ValueError` where one cannot be read."""
    mark = "-----END X509 CRL-----"
    return [x509.load_pem_x509_crl(f"{one}{mark}\n".encode()) for one in text.split(mark) if one.strip()]


def _verify_authorities(authorities: list[x509.Certificate]) -> Iterator[Problem]:
    subjects = {one.subject for one in authorities}
    for one in authorities:
        if one.issuer not in subjects:
            found = f"{one.subject.rfc4514_string()} without its issuer {one.issuer.rfc4514_string()}"
            yield Problem(
                f"{PATH}.authorities", found, "the authorities that issue cards, and those above them up to the root"
            )


def _verify_lists(
    authorities: list[x509.Certificate], lists: list[x509.CertificateRevocationList]
) -> Iterator[Problem]:
    issuers = {one.issuer for one in lists}
    missing = [one.subject.rfc4514_string() for one in authorities if one.subject not in issuers]
    if missing:
        allowed = (
            "a revocation list of each authority, crl_urls, ocsp_url or check off: without a proof nobody would pass"
        )
        yield Problem(f"{PATH}.revocation.crls", f"none of {'; '.join(missing)}", allowed)


def _elsewhere(revocation: Mapping[str, Any]) -> bool:
    """Whether the agent is to fetch lists or to ask a responder."""
    return bool(revocation["crl_urls"] or "ocsp_url" in revocation)


def administrators(tree: Tree) -> AdministratorCertificates | None:
    """What the agent is asked about administrators' certificates; None where lists of the configuration's own are all there is,
    or nobody looks."""
    held = tree.get("portal", {}).get("certificate_login", {"mode": "off"})
    if held["mode"] == "off" or held["revocation"]["check"] == "off" or not _elsewhere(held["revocation"]):
        return None
    said = held["revocation"]
    rules = Revocation(
        crl_files=(LISTS,) if "crls" in said else (),
        crl_urls=tuple(said["crl_urls"]),
        ocsp_url=said.get("ocsp_url"),
        refresh_seconds=said["refresh_minutes"] * 60.0,
    )
    return AdministratorCertificates(authorities=AUTHORITIES, revocation=rules)


def flows(tree: Tree) -> tuple[Flow, ...]:
    """The agent's ways to lists and responders."""
    asked = administrators(tree)
    return revocation.flows(tree, asked.revocation if asked is not None else None, "portal")


def files(tree: Tree) -> Mapping[str, File]:
    """The authorities and their lists, each in its file, where certificates are taken at all."""
    held = tree["portal"]["certificate_login"]
    if held["mode"] == "off":
        return {}
    texts = ((AUTHORITIES, held.get("authorities")), (LISTS, held["revocation"].get("crls")))
    return {path: File(text) for path, text in texts if text}


def authorities_path(tree: Tree) -> str | None:
    """Whose certificates 8443 asks for; None where it asks for none."""
    return AUTHORITIES if AUTHORITIES in files(tree) else None


def _choice(*words: str) -> dict[str, Any]:
    return {"type": "string", "allowed": list(words)}


CERTIFICATE_LOGIN = values.group(
    "Certificate log-in",
    "Log-in to the portal with a certificate of one's own, as on a smart card: CAC or PIV (V-250988).",
    mode=values.described(
        _choice(*MODES),
        "Mode",
        "optional: beside the password. required: without a certificate nobody logs in to the portal.",
        default="off",
    ),
    authorities=values.described(
        values.PEM_KIND,
        "Authorities",
        "PEM of the authorities that issue the cards, and of those above them up to the root.",
    ),
    mapping=values.several(
        _choice(*WAYS),
        "Mapping",
        "What leads to an account: edipi, the number of the DoD's certificates (V-250994: this one alone); upn or subject, held "
        "against the account's `certificate`.",
        least=1,
        most=len(WAYS),
        default=["edipi"],
    ),
    revocation={
        **values.group(
            "Revocation",
            "How it is known that a certificate has been revoked.",
            check=values.described(
                _choice("strict", "off"),
                "Check",
                "strict: who is not proved good, by a list in date of each authority, is refused. off: nobody looks.",
                default="strict",
            ),
            crls=values.described(
                {**values.CRL_KIND, "maxlength": LIST_CHARACTERS},
                "Revocation lists",
                "Lists of your own, for a network without a way out: one of each authority. They end, and then need a commit.",
            ),
            crl_urls=values.several(
                values.text_kind(values.is_http_url, URL),
                "Lists at",
                "From where the agent fetches the authorities' lists.",
                most=URLS,
                default=[],
            ),
            ocsp_url=values.described(
                values.text_kind(values.is_http_url, URL),
                "Responder",
                "The authorities' OCSP responder, asked where no list in date decides.",
            ),
            refresh_minutes=values.number(
                "Refresh (minutes)",
                "How often lists are fetched and the responder asked anew.",
                low=1,
                high=1_440,
                default=60,
            ),
        ),
        "default": {},
    },
)
