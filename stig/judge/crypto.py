"""The FIPS state (V-250995 and the rules whose check is the same), the TLS versions (V-251013, V-251026, V-251027), the authority
of the certificates shown (V-251005); and what a report says about the module."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from stig.parse.rsyslog import Secured
from stig.probe.tls import Answer
from stig.results import Crypto
from stig.verdict import Point, Verdict

APPROVED_SSH = ("aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr", "aes192-ctr", "aes128-ctr")
SERVICES = ("sentry-configd", "sentry-gateway", "sentry-agent", "sentry-uem", "sentry-portal", "sentry-tls-proxy")
ENABLED = "FIPS 140 mode is enabled"  # the words the check looks for
ONLY = "1.2"  # V-251013


@dataclass(frozen=True, slots=True)
class Fips:
    """What the CLI says, the loaded providers, and the exit statuses of a refused and an approved digest."""

    shown: str
    providers: Mapping[str, Mapping[str, str]]
    md5: int
    sha256: int


def fips(facts: Fips, *more: Point) -> Verdict:
    """The CLI says so, the provider is active, the running library really refuses what is not approved, and each running service
    says the same of itself; `more` is what a rule wants beside that."""
    module = facts.providers.get("fips", {})
    named = (
        f"{module.get('name', 'no FIPS provider')} {module.get('version', '')}, {module.get('status', 'not loaded')}"
    )
    loaded = sorted(name for name, fields in facts.providers.items() if fields.get("status") == "active")
    first = next((line.strip() for line in facts.shown.splitlines() if line.strip()), "nothing")
    return Verdict(
        (
            Point("CLI: show fips", first, ENABLED, ENABLED in facts.shown),
            Point("openssl list -providers", named, "the FIPS provider, active", module.get("status") == "active"),
            Point(
                "openssl list -providers: others that are active",
                ", ".join(loaded),
                "fips and base only",
                "fips" in loaded and set(loaded) <= {"fips", "base"},
            ),
            Point(
                "openssl dgst -md5 /dev/null",
                f"{'refused' if facts.md5 else 'worked'} (exit status {facts.md5})",
                "refused",
                facts.md5 != 0,
            ),
            Point(
                "openssl dgst -sha256 /dev/null",
                f"{'failed' if facts.sha256 else 'worked'} (exit status {facts.sha256})",
                "worked",
                facts.sha256 == 0,
            ),
            *_said_by_services(facts.shown),
            *more,
        ),
        reading=(
            "This decides whether the appliance runs in FIPS mode. Whether the module itself has a validation certificate "
            "is said beside it in every report and is for the assessor to weigh."
        ),
    )


def _said_by_services(shown: str) -> tuple[Point, ...]:
    lines = [line.strip() for line in shown.splitlines()]
    tested = next((line for line in lines if line.startswith("self-test:")), "nothing")
    services = [line for line in lines if line.startswith(tuple(f"{name}:" for name in SERVICES))]
    return (
        Point("CLI: show fips: self-test", tested, "self-test: passed", tested.startswith("self-test: passed")),
        Point(
            "CLI: show fips: services",
            "; ".join(services) or "none",
            f"each running service: {ENABLED}",
            bool(services) and all(ENABLED in line for line in services),
        ),
    )


def suites(what: str, port: int, answer: Answer) -> Point:
    """That a server takes no suite which is not approved."""
    return Point(
        f"ClientHello with TLS 1.2 and suites that are not approved only, to {what} on {port}",
        f"{'accepted' if answer.accepted else 'refused'} ({answer.said})",
        "refused",
        not answer.accepted,
    )


def ssh_ciphers(sshd: str) -> Point:
    """That sshd takes approved ciphers alone."""
    found = next((line.partition(" ")[2] for line in sshd.splitlines() if line.startswith("ciphers ")), "")
    met = bool(found) and set(found.split(",")) <= set(APPROVED_SSH)
    return Point("sshd -T: ciphers", found or "none", f"of {', '.join(APPROVED_SSH)}", met)


def keys(listing: str) -> Point:
    """That private keys are root's, and readable by one service's group at most (`find -printf '%m %u %p'`)."""
    rows = [line.split(" ", 2) for line in listing.splitlines() if line.strip()]
    wrong = [" ".join(row) for row in rows if row[0] not in ("600", "640") or row[1] != "root"]
    found = ", ".join(wrong) or f"{len(rows)} keys, all as expected"
    return Point("find /var/lib/sentry/tls: private keys", found, "root's, mode 0600 or 0640", bool(rows) and not wrong)


def authorities(answers: Mapping[tuple[str, int], Answer]) -> Verdict:
    """V-251005: what each port shows was issued below an authority that the site approves of."""
    points = tuple(
        Point(
            f"handshake with {what} on {port}, believing the site's approved authorities alone",
            answer.said,
            "a certificate of one of them",
            answer.accepted,
        )
        for (what, port), answer in sorted(answers.items())
    )
    return Verdict(points, reading="Which authorities are approved is the site's answer (approved_authorities).")


def module(shown: str, providers: Mapping[str, Mapping[str, str]]) -> Crypto:
    """Which module answers, and what the CLI's `show fips` says about its validation."""
    fields = providers.get("fips")
    if fields is None:
        return Crypto(module="no FIPS provider is loaded", validation="module not validated")
    rows = [line.strip() for line in shown.splitlines()]
    validation = next((row.partition(":")[2].strip() for row in rows if row.startswith("validation")), "unknown")
    name = f"{fields.get('name', 'FIPS provider')}, version {fields.get('version', '?')}"
    return Crypto(module=name, validation=validation or "unknown")


class Range(msgspec.Struct, frozen=True):
    """The versions one side of a connection may use."""

    minimum: str
    maximum: str


class _Backend(msgspec.Struct, frozen=True):
    name: str
    tls: Range | None = None
    verify: str = "strict"


class _Listener(msgspec.Struct, frozen=True):
    address: str
    port: int
    tls: bool = True


class _Gateway(msgspec.Struct, frozen=True):
    tls: Range
    backends: tuple[_Backend, ...]
    listeners: tuple[_Listener, ...] = ()


class _Link(msgspec.Struct, frozen=True):
    tls: Range
    push_tls: Range | None = None


class _Agent(msgspec.Struct, frozen=True):
    uem: _Link


class _UemServer(msgspec.Struct, frozen=True):
    tls: Range
    push_tls: Range


class Runtime(msgspec.Struct, frozen=True):
    """What the settings of the data plane say about TLS."""

    gateway: _Gateway
    agent: _Agent
    uem_server: _UemServer | None = None


@dataclass(frozen=True, slots=True)
class Tls:
    """The servers' answers per (what, port), and the settings for what dials out; `logs` are rsyslog's, resolved."""

    answers: Mapping[tuple[str, int], tuple[Answer, ...]]
    runtime: Runtime
    logs: tuple[Secured, ...] = ()


def tls_1_2_enabled(facts: Tls, *, strict: bool = False) -> Verdict:
    """V-251026, V-251027 as they are written: TLS 1.2 is enabled on everything that listens and dials. `strict`: and nothing is
    sent to a backend whose certificate does not hold, which is what V-251027 is about."""
    points = [
        Point(
            f"ClientHello with TLS 1.2 only, to {what} on {port}",
            f"{'accepted' if answer.accepted else 'refused'} ({answer.said})",
            "accepted",
            answer.accepted,
        )
        for (what, port), answers in sorted(facts.answers.items())
        for answer in answers
        if answer.version == ONLY
    ]
    for point, found in _ranges(facts.runtime):
        met = found is not None and found.minimum <= ONLY <= found.maximum
        said = "no TLS" if found is None else f"TLS {found.minimum} to {found.maximum}"
        points.append(Point(point, said, f"TLS {ONLY} among them", met, "configured"))
    if strict:
        points += [
            Point(
                f"cat /etc/sentry/runtime.json: the certificate of the backend {backend.name}",
                backend.verify,
                "strict",
                backend.verify == "strict",
                "configured",
            )
            for backend in facts.runtime.gateway.backends
        ]
    return Verdict(tuple(points))


def tls_versions(facts: Tls) -> Verdict:
    """TLS 1.2 and nothing else on everything that listens and everything that dials."""
    points: list[Point] = []
    for (what, port), answers in sorted(facts.answers.items()):
        for answer in answers:
            wanted = answer.version == ONLY
            points.append(
                Point(
                    f"ClientHello with TLS {answer.version} only, to {what} on {port}",
                    f"{'accepted' if answer.accepted else 'refused'} ({answer.said})",
                    "accepted" if wanted else "refused",
                    answer.accepted == wanted,
                )
            )
    points.extend(_configured(facts.runtime))
    points.extend(_logs(facts.logs))
    return Verdict(
        tuple(points),
        reading=(
            "Read literally: TLS 1.2 and nothing else, although SP 800-52 Rev. 2 asks for TLS 1.3 too. Incoming is 443, the "
            "portal on 8443 is looked at besides; Outgoing and UEM are the settings the running services have read; there is no "
            "Access connection on this appliance."
        ),
    )


def _logs(found: tuple[Secured, ...]) -> Iterator[Point]:
    for one in found:
        yield Point(
            f"rsyslogd -N1 -o: to the log server {one.target}",
            f"TLS {one.minimum or 'any'} to {one.maximum or 'any'}",
            f"TLS {ONLY} to {ONLY}",
            one.minimum == one.maximum == ONLY,
            "configured",
        )


def _leniency(backend: _Backend) -> str:
    """What whoever reads the report should know beside the versions: the rule itself asks for these alone."""
    return "" if backend.verify == "strict" else f" (verify: {backend.verify}; its certificate need not hold)"


def _ranges(runtime: Runtime) -> list[tuple[str, Range | None]]:
    """What dials, and what listens where nobody can ask, with its versions."""
    gateway = runtime.gateway
    # Those with TLS are asked themselves; one without would not even understand.
    rows: list[tuple[str, Range | None]] = [
        (f"incoming, the gateway on {one.address} port {one.port}", None) for one in gateway.listeners if not one.tls
    ]
    rows += [
        (f"outgoing, to the backend {backend.name}{_leniency(backend)}", backend.tls) for backend in gateway.backends
    ]
    rows.append(("the UEM link, dialling", runtime.agent.uem.tls))
    if runtime.agent.uem.push_tls is not None:
        rows.append(("the UEM link, listening for pushes", runtime.agent.uem.push_tls))
    if runtime.uem_server is not None:
        rows += [
            ("the UEM in the box, listening", runtime.uem_server.tls),
            ("the UEM in the box, pushing", runtime.uem_server.push_tls),
        ]
    return [(f"cat /etc/sentry/runtime.json: {what}", found) for what, found in rows]


def _configured(runtime: Runtime) -> list[Point]:
    return [
        Point(
            what,
            "no TLS" if found is None else f"TLS {found.minimum} to {found.maximum}",
            f"TLS {ONLY} to {ONLY}",
            found == Range(ONLY, ONLY),
            "configured",
        )
        for what, found in _ranges(runtime)
    ]
