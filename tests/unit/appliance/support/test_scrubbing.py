"""The last look: no known secret leaves in any usual writing, nor anything that looks like one."""

import base64
import json
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.secrets import MASK
from appliance.support.scrubbing import Scrubber, words

SECRETS = ("Correct-Horse-12", 'quote"and\\slash', "pässwörd & more", "snmp-passphrase-9")
KEY = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49\nAwEHBG0wawIBAQQg\n-----END PRIVATE KEY-----\n"


def written(secret: str) -> list[str]:
    """The secret as a log may have it."""
    data = secret.encode()
    around = [base64.b64encode(left + data + b":tail").decode() for left in (b"", b"a", b"ab", b"user:")]
    return [
        secret,
        json.dumps(secret),
        urllib.parse.quote(secret, safe=""),
        data.hex(),
        data.hex().upper(),
        base64.b64encode(data).decode(),
        base64.urlsafe_b64encode(data).decode(),
        *around,
    ]


@pytest.mark.parametrize("secret", SECRETS)
def test_no_writing_of_a_secret_is_left(secret: str) -> None:
    scrubber = Scrubber(SECRETS)
    data = secret.encode()
    for form in written(secret):
        clean = scrubber.clean(f"before {form} after")
        assert MASK in clean, form
        assert clean.startswith("before ")
        assert clean.endswith(" after")
        for part in (secret, data.hex(), base64.b64encode(data).decode()[:-4], urllib.parse.quote(secret, safe="")):
            assert part not in clean, form


@pytest.mark.parametrize(
    ("line", "gone"),
    [
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ('"Authorization": "Negotiate YIIZ+abc/def=="', "YIIZ"),
        ("proxy-authorization=NTLM TlRMTVNTUAABAAAA", "TlRM"),
        ("Cookie: __Host-sentry=abcdefabcdef; a=b", "abcdefabcdef"),
        ("saw __Host-sentry-form=q1w2e3 there", "q1w2e3"),
        ("token sentry_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAA"),
        ("root:$y$j9T$abcdefgh$ijklmnop:1", "ijklmnop"),
        ("$6$rounds=5000$saltsalt$hashhashhash", "hashhash"),
        ("GET https://bob:hunter22@mail.example.test/", "hunter22"),
        ("password=hunter2222", "hunter2222"),
        (KEY, "MIGHAgEA"),
        (KEY.replace("-----END PRIVATE KEY-----\n", ""), "AwEHBG0"),
    ],
)
def test_what_looks_like_a_secret_goes_although_nobody_knows_it(line: str, gone: str) -> None:
    assert gone not in Scrubber(()).clean(f"x {line}\nnext")


def test_what_is_no_secret_stays() -> None:
    text = "sentry-gateway.service active, 12 backends up; certificate ends 2027-01-31\nlistens on 443\n"
    assert Scrubber(SECRETS).clean(text) == text


def test_the_longer_secret_goes_before_the_one_within_it() -> None:
    assert Scrubber(("abcdef", "abcdefghij")).clean("abcdefghij") == MASK


def test_a_key_beside_the_name_of_its_user_is_a_secret_by_itself() -> None:
    key = "0123456789abcdef" * 4
    scrubber = Scrubber(words([f"createUser monitor SHA-256 -l 0x{key} AES-256\n"]))
    assert scrubber.clean(f"key {key} of monitor") == f"key {MASK} of monitor"


@given(st.text(min_size=6, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_whatever_a_secret_is_it_is_not_left(secret: str, before: str, after: str) -> None:
    known = secret.strip()
    if len(known) >= 6 and len(known.splitlines()) == 1 and known not in MASK and not known.startswith("-----"):
        assert known not in Scrubber((secret,)).clean(f"{before} {known} {after}").replace(MASK, "\0")
