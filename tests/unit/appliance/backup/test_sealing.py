"""The file of a backup: what goes in comes out, and nothing that was changed, cut or locked otherwise opens."""

import base64

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.backup import armour, sealing
from appliance.backup.bounds import FILE_BYTES, BackupError
from appliance.backup.sealing import Header, read_header, seal, unseal

PASSPHRASE = "correct horse battery"
FEW = 1_000  # what SP 800-132 wants at least; the files of a test need not be hard to guess


def sealed(payload: bytes = b"payload", passphrase: str = PASSPHRASE, iterations: int = FEW) -> bytes:
    return seal(
        payload,
        passphrase,
        product="0.1.0",
        host="gw1.example.test",
        when="2026-01-31T18:00:00Z",
        schema=2,
        iterations=iterations,
    )


def opened(file: bytes, passphrase: str = PASSPHRASE) -> bytes:
    return unseal(file, passphrase, least=FEW)[1]


def with_header(file: bytes, **changes: object) -> bytes:
    mark, header, rest = file.split(b"\n", 2)
    return mark + b"\n" + msgspec.json.encode(msgspec.json.decode(header) | changes) + b"\n" + rest


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=5_000), st.text(st.characters(categories=("L", "N", "P")), min_size=15, max_size=40))
def test_what_was_sealed_is_opened_by_its_passphrase_alone(payload: bytes, passphrase: str) -> None:
    file = sealed(payload, passphrase)
    assert opened(file, passphrase) == payload
    assert opened(armour.decoded("\n".join(armour.armoured(_base64(file)))), passphrase) == payload
    with pytest.raises(BackupError, match="this passphrase does not open"):
        opened(file, f"{passphrase}.")


def test_every_single_byte_that_is_another_one_is_refused() -> None:
    file, tried = sealed(b"x" * 40), 0
    for place in range(len(file)):
        for flip in (0x01, 0x80):
            changed = bytearray(file)
            changed[place] ^= flip
            with pytest.raises(BackupError):
                opened(bytes(changed))
            tried += 1
    assert tried == 2 * len(file) > 600


def test_a_file_that_was_cut_anywhere_is_refused() -> None:
    file = sealed()
    for length in range(len(file)):
        with pytest.raises(BackupError):
            opened(file[:length])
    with pytest.raises(BackupError):
        opened(file + b"\0")


def test_two_backups_of_the_same_have_nothing_in_common_but_the_header() -> None:
    first, second = sealed(), sealed()
    one, other = read_header(first, least=FEW), read_header(second, least=FEW)
    assert one.salt != other.salt
    assert one.nonce != other.nonce
    assert first.rpartition(b"\n")[2] != second.rpartition(b"\n")[2]
    assert (len(one.salt), len(one.nonce)) == (2 * sealing.SALT_BYTES, 2 * sealing.NONCE_BYTES)


def test_the_header_is_for_everybody_and_says_how_the_key_is_made() -> None:
    header = read_header(sealed(iterations=sealing.ITERATIONS))
    assert header == Header(
        format=1,
        product="0.1.0",
        host="gw1.example.test",
        when="2026-01-31T18:00:00Z",
        schema=2,
        kdf="pbkdf2-hmac-sha512",
        iterations=210_000,
        salt=header.salt,
        cipher="aes-256-gcm",
        nonce=header.nonce,
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, "found a backup of format 2; allowed: 1"),
        ({"iterations": FEW - 1}, f"found {FEW - 1} iterations"),
        ({"iterations": sealing.MOST_ITERATIONS + 1}, "iterations; allowed"),
        ({"salt": "00"}, "salt and nonce of"),
        ({"nonce": "zz"}, "not hexadecimal"),
        ({"cipher": "none"}, "cannot be read"),
        ({"kdf": "pbkdf2-hmac-sha1"}, "cannot be read"),
        ({"more": 1}, "cannot be read"),
        ({"host": "other.example.test"}, "or one that was changed"),
        ({"schema": 1}, "or one that was changed"),
    ],
)
def test_what_is_wrong_with_a_header_is_said(changes: dict[str, object], said: str) -> None:
    with pytest.raises(BackupError, match=said):
        opened(with_header(sealed(), **changes))


@pytest.mark.parametrize("file", [b"", b"PK\x03\x04", b"-----BEGIN CERTIFICATE-----\n", b"SENTRY-BACKUP"])
def test_another_file_is_no_backup(file: bytes) -> None:
    with pytest.raises(BackupError, match="no backup of this product"):
        opened(file)


@pytest.mark.parametrize("passphrase", ["", "x" * 14, "x" * 513, "fifteen letters\n"])
def test_a_passphrase_has_15_to_512_printable_characters(passphrase: str) -> None:
    with pytest.raises(BackupError, match="allowed: 15 to 512 printable characters"):
        sealed(passphrase=passphrase)


def test_what_is_too_long_is_neither_made_nor_read() -> None:
    with pytest.raises(BackupError, match="allowed: at most 1048576"):
        sealed(b"\0" * (sealing.PAYLOAD_BYTES + 1))
    with pytest.raises(BackupError, match="of at most 1048576"):
        opened(sealed() + bytes(FILE_BYTES))


def test_a_block_has_its_two_lines_and_base64_between() -> None:
    lines = armour.armoured(_base64(sealed()))
    assert (lines[0], lines[-1]) == (armour.BEGIN, armour.END)
    assert max(map(len, lines[1:-1])) == 64
    for wrong in ("\n".join(lines[:-1]), "nonsense!", "\n".join((lines[0], "é", lines[-1]))):
        with pytest.raises(BackupError):
            armour.decoded(wrong)


def _base64(file: bytes) -> str:
    return base64.b64encode(file).decode()
