"""V-250988, V-250994: administrators log in with a certificate of their own, which names one account by its EDIPI."""

from collections.abc import Mapping
from dataclasses import dataclass

from stig.verdict import Point, Verdict

ON = ("optional", "required")
SHOW = "CLI: show certificate-login"


@dataclass(frozen=True, slots=True)
class CertificateLogin:
    """What the CLI shows, whose certificates the process on 8443 asks for by its file, and the authorities it really names."""

    shown: Mapping[str, str]
    file: str | None
    named: tuple[str, ...]


def certificate_login(facts: CertificateLogin) -> Verdict:
    """It is on, with authorities, a mapping and revocation, and the portal really asks for a certificate."""
    shown = facts.shown
    return Verdict(
        (
            Point(f"{SHOW} (mode)", shown.get("mode", "nothing"), "optional or required", shown.get("mode") in ON),
            _given(shown, "authorities", "the authorities that issue the cards, up to the root"),
            _given(shown, "mapping", "a mapping to accounts"),
            Point(
                f"{SHOW} (revocation)",
                shown.get("revocation", "nothing"),
                "strict",
                shown.get("revocation") == "strict",
            ),
            Point(
                "cat /etc/sentry/tls-proxy.json (client_authorities)",
                facts.file or "none",
                "a file with authorities",
                bool(facts.file),
                "configured",
            ),
            Point(
                "openssl s_client to 8443: authorities named in the request for a certificate",
                ", ".join(facts.named) or "none",
                "at least one",
                bool(facts.named),
            ),
        ),
        reading=(
            "The check asks that certificate authentication is on and configured; that passwords are off as well (mode required) "
            "is not asked. It is the portal's; SSH has keys."
        ),
    )


def edipi(shown: Mapping[str, str]) -> Verdict:
    """The mapping is to the EDIPI alone, and every account has one; that no two have the same, the settings see to."""
    count = shown.get("accounts without an EDIPI", "not shown")
    return Verdict(
        (
            Point(f"{SHOW} (mode)", shown.get("mode", "nothing"), "optional or required", shown.get("mode") in ON),
            Point(f"{SHOW} (mapping)", shown.get("mapping", "nothing"), "edipi alone", shown.get("mapping") == "edipi"),
            Point(f"{SHOW} (accounts without an EDIPI)", count, "0", count == "0"),
        )
    )


def _given(shown: Mapping[str, str], name: str, wanted: str) -> Point:
    found = shown.get(name, "none")
    return Point(f"{SHOW} ({name})", found, wanted, found not in ("", "none"))
