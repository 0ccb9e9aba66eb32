"""Whether cryptography runs in FIPS mode: asked of the running OpenSSL and of each running service, never of a setting."""

import re
from collections.abc import Iterator, Mapping

from appliance.configd.api import Text
from appliance.configd.errors import refused as refusal
from appliance.configd.facts.context import Context, Topic
from sentry_runtime import fips as own

ENABLED = "FIPS 140 mode is enabled"  # the words V-250995 and its like look for
DISABLED = "FIPS 140 mode is disabled"

VALIDATED: Mapping[str, str] = {}
"""Version of the FIPS provider -> its CMVP certificate. Empty: Debian's build of the provider has no certificate, and a
version number alone says nothing of a build. A site that installs a validated `fips.so` gets an entry with its image."""
NOT_VALIDATED = (
    "validation: module not validated (Debian builds OpenSSL's FIPS provider itself; that build is on no list of the CMVP, "
    "whatever certificates OpenSSL's own builds have)"
)
SELF_TEST = "/usr/lib/sentry/bin/sentry-fips"
SPEAKING = ("sentry-gateway", "sentry-agent", "sentry-uem", "sentry-portal", "sentry-tls-proxy")
"""Our services, each of which says in its status what its own OpenSSL does (`sentry_runtime.fips`)."""
SILENT = ("ssh", "rsyslog")
"""Others that use OpenSSL; of these only whether they have loaded the module can be seen."""
MODULE = "/ossl-modules/fips.so"
_TEST = re.compile(r"^\s*(\S.*?)\s*:\s*\(([^)]*)\)\s*:\s*(\w+)", re.MULTILINE)


def providers(listing: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The providers and their fields in what `openssl list -providers -verbose` prints (two and four blanks deep)."""
    name, fields = "", dict[str, str]()
    for line in listing.splitlines():
        depth = len(line) - len(line.lstrip())
        if depth == 2:
            if name:
                yield name, fields
            name, fields = line.strip(), {}
        elif depth == 4 and ":" in line:
            key, _, value = line.strip().partition(":")
            fields[key] = value.strip()
    if name:
        yield name, fields


def fips(context: Context, argument: str) -> Text:
    """The mode in the first line, then what it was computed from; with `self-test` the module tests itself once more, and each
    running service is asked.

    It is on when the provider called `fips` is active, an approved digest works and MD5, which the `fips=yes` properties
    of openssl.cnf exclude, is refused.
    """
    if argument not in ("", "self-test"):
        raise refusal("invalid", f"found {argument!r} after fips; allowed: self-test")
    loaded = dict(providers(context.system.run(["openssl", "list", "-providers", "-verbose"])))
    module = loaded.get("fips", {})
    approved = context.attempt(["openssl", "dgst", "-sha256", "/dev/null"]).status == 0
    refused = context.attempt(["openssl", "dgst", "-md5", "/dev/null"]).status != 0
    active = module.get("status") == "active"
    number = module.get("version", "none")
    certificate = VALIDATED.get(number)
    kernel = (context.system.read("/proc/sys/crypto/fips_enabled") or "not there").strip()
    return Text(
        title="fips",
        lines=(
            ENABLED if active and approved and refused else DISABLED,
            f"module: {module.get('name', 'no FIPS provider')}, version {number}, status {module.get('status', 'not loaded')}",
            f"validation: CMVP certificate {certificate}" if certificate else NOT_VALIDATED,
            f"default properties: MD5 is {'refused' if refused else 'allowed'}, SHA-256 {'works' if approved else 'FAILS'}",
            f"other active providers: {', '.join(sorted(set(loaded) - {'fips'})) or 'none'}",
            f"kernel flag (crypto.fips_enabled): {kernel}",
            *((_self_test(context), *_processes(context)) if argument else ()),
        ),
    )


def _self_test(context: Context) -> str:
    """What the module's own tests say: its integrity, then each algorithm with known answers (FIPS 140-3 10)."""
    done = context.attempt([SELF_TEST, "self-test"])
    tests = _TEST.findall(f"{done.output}\n{done.errors}")
    failed = [f"{name} ({kind})" for name, kind, outcome in tests if outcome != "Pass"]
    if done.status or failed or not tests:
        why = ", ".join(failed) or done.errors.strip()[-200:] or "it said nothing"
        return f"self-test: FAILED: {' '.join(why.split())}"
    integrity = any(kind == "Module_Integrity" for _name, kind, _outcome in tests)
    return f"self-test: passed, {len(tests)} tests{' with that of its integrity' if integrity else ''}, run just now"


def _processes(context: Context) -> Iterator[str]:
    """What each running service's own OpenSSL does."""
    yield f"sentry-configd: {own.state()}"
    units = [f"{name}.service" for name in (*SPEAKING, *SILENT)]
    output = context.system.run(["systemctl", "show", "--property=Id,MainPID,StatusText", "--", *units])
    for block in output.strip().split("\n\n"):
        fields = dict(line.partition("=")[::2] for line in block.splitlines())
        name, pid = fields.get("Id", "").removesuffix(".service"), fields.get("MainPID", "0")
        if not pid.isdecimal() or pid == "0":
            continue
        said = fields.get("StatusText", "").partition(";")[0]
        loaded = MODULE in (context.system.read(f"/proc/{pid}/maps") or "")
        has = f"process {pid} has {'loaded' if loaded else 'NOT loaded'} the module"
        yield f"{name}: {said}; {has}" if name in SPEAKING else f"{name}: {has}"


TOPICS = {"fips": Topic("whether cryptography runs in FIPS mode", fips, argument="self-test")}
