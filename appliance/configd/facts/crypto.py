"""Whether cryptography runs in FIPS mode: asked of the running OpenSSL, never of a setting."""

from collections.abc import Iterator, Mapping

from appliance.configd.api import Text
from appliance.configd.facts.context import Context, Topic

ENABLED = "FIPS 140 mode is enabled"  # the words V-250995 and its like look for
DISABLED = "FIPS 140 mode is disabled"

VALIDATED: Mapping[str, str] = {}
"""Version of the FIPS provider -> its CMVP certificate. Empty: Debian's build of the provider has no certificate, and a
version number alone says nothing of a build. A site that installs a validated `fips.so` gets an entry with its image."""


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


def fips(context: Context, _argument: str) -> Text:
    """The mode in the first line, then what it was computed from.

    It is on when the provider called `fips` is active, an approved digest works and MD5, which the `fips=yes` properties
    of openssl.cnf exclude, is refused.
    """
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
            f"validation: CMVP certificate {certificate}" if certificate else "validation: module not validated",
            f"default properties: MD5 is {'refused' if refused else 'allowed'}, SHA-256 {'works' if approved else 'FAILS'}",
            f"other active providers: {', '.join(sorted(set(loaded) - {'fips'})) or 'none'}",
            f"kernel flag (crypto.fips_enabled): {kernel}",
        ),
    )


TOPICS = {"fips": Topic("whether cryptography runs in FIPS mode", fips)}
