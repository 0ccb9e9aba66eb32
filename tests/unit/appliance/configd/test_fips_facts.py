"""Whether FIPS mode is on: the module, its self-test, and every service that runs."""

import pytest

from appliance.configd import facts
from appliance.configd.facts.context import Context
from tests.unit.appliance.configd.shown import Box, lines

PROVIDERS = """Providers:
  base
    name: OpenSSL Base Provider
    version: 3.5.7
    status: active
    gettable provider parameters:
      name: pointer to a UTF8 encoded string (arbitrary size)
      status: integer (arbitrary size)
  fips
    name: OpenSSL FIPS Provider
    version: 3.5.7
    status: active
    build info: 3.5.7
    gettable provider parameters:
      name: pointer to a UTF8 encoded string (arbitrary size)
"""
WITHOUT_FIPS = "Providers:\n  default\n    name: OpenSSL Default Provider\n    version: 3.5.7\n    status: active\n"


def fips(context: Context) -> tuple[str, ...]:
    return lines(facts.show("fips", "", context))


def test_fips_is_enabled_when_the_provider_is_active_and_md5_is_refused(box: Box, context: Context) -> None:
    box.prints["openssl list"] = PROVIDERS
    box.refuses = {"openssl dgst -md5 /dev/null"}
    box.files["/proc/sys/crypto/fips_enabled"] = "1\n"
    assert fips(context) == (
        "FIPS 140 mode is enabled",
        "module: OpenSSL FIPS Provider, version 3.5.7, status active",
        "validation: module not validated (Debian builds OpenSSL's FIPS provider itself; that build is on no list of the CMVP, "
        "whatever certificates OpenSSL's own builds have)",
        "default properties: MD5 is refused, SHA-256 works",
        "other active providers: base",
        "kernel flag (crypto.fips_enabled): 1",
    )


@pytest.mark.parametrize(
    ("listing", "refuses"),
    [
        (PROVIDERS, set[str]()),
        (WITHOUT_FIPS, {"openssl dgst -md5 /dev/null"}),
        (PROVIDERS, {"openssl dgst -md5 /dev/null", "openssl dgst -sha256 /dev/null"}),
        (PROVIDERS.replace("active", "inactive"), {"openssl dgst -md5 /dev/null"}),
        ("", {"openssl dgst -md5 /dev/null"}),
    ],
)
def test_fips_is_disabled_when_anything_of_it_is_missing(
    box: Box, context: Context, listing: str, refuses: set[str]
) -> None:
    box.prints["openssl list"] = listing
    box.refuses = refuses
    assert fips(context)[0] == "FIPS 140 mode is disabled"


def test_a_kernel_flag_alone_is_not_fips(box: Box, context: Context) -> None:
    box.files["/proc/sys/crypto/fips_enabled"] = "1\n"
    assert fips(context)[0] == "FIPS 140 mode is disabled"


SELF_TEST = """\
HMAC : (Module_Integrity) : Pass
SHA2 : (KAT_Digest) : Pass
AES_GCM : (KAT_Cipher) : Pass
"""
STATUS = """\
Id=sentry-gateway.service
MainPID=41
StatusText=FIPS 140 mode is enabled; settings 0123456789ab in force

Id=sentry-portal.service
MainPID=42
StatusText=FIPS 140 mode is disabled (MD5 works)

Id=sentry-uem.service
MainPID=0
StatusText=

Id=ssh.service
MainPID=43
StatusText=
"""
MAPS = "7f00-7f01 r-xp 00000000 fe:01 1 /usr/lib/x86_64-linux-gnu/ossl-modules/fips.so\n"


def test_fips_tests_the_module_and_asks_every_running_service(box: Box, context: Context) -> None:
    box.prints |= {
        "openssl list": PROVIDERS,
        "/usr/lib/sentry/bin/sentry-fips self-test": SELF_TEST,
        "systemctl show": STATUS,
    }
    box.files |= {"/proc/41/maps": MAPS, "/proc/43/maps": ""}
    told = lines(facts.show("fips", "self-test", context))
    assert "self-test: passed, 3 tests with that of its integrity, run just now" in told
    assert told[-3:] == (
        "sentry-gateway: FIPS 140 mode is enabled; process 41 has loaded the module",
        "sentry-portal: FIPS 140 mode is disabled (MD5 works); process 42 has NOT loaded the module",
        "ssh: process 43 has NOT loaded the module",
    )


@pytest.mark.parametrize(
    ("printed", "says"),
    [
        (SELF_TEST.replace("(KAT_Digest) : Pass", "(KAT_Digest) : Fail"), "FAILED: SHA2 (KAT_Digest)"),
        ("", "FAILED: it said nothing"),
    ],
)
def test_a_self_test_that_fails_or_says_nothing_is_a_failure(
    box: Box, context: Context, printed: str, says: str
) -> None:
    box.prints |= {"openssl list": PROVIDERS, "/usr/lib/sentry/bin/sentry-fips self-test": printed}
    assert f"self-test: {says}" in lines(facts.show("fips", "self-test", context))
    box.refuses.add("/usr/lib/sentry/bin/sentry-fips self-test")
    assert "self-test: FAILED: refused" in lines(facts.show("fips", "self-test", context))
