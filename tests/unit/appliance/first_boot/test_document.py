"""User-data is our site configuration and nothing else."""

import pytest

from appliance.config.schema import Schema
from appliance.features import FEATURES
from appliance.first_boot import document
from appliance.first_boot.document import DocumentError
from appliance.first_boot.found import Found
from tests.unit.appliance.first_boot import site


@pytest.fixture(scope="module")
def schema() -> Schema:
    """The appliance's own."""
    return Schema(FEATURES)


def refused(data: bytes, schema: Schema) -> str:
    with pytest.raises(DocumentError) as caught:
        document.read(Found("user-data", data), schema)
    return str(caught.value)


def test_a_site_is_taken(schema: Schema) -> None:
    tree = document.read(Found("user-data", site.text().encode()), schema)
    assert tree["hostname"] == "gw1.example.test"
    assert tree["users"]["accounts"]["admin"]["password_hash"].startswith("$6$")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"#!/bin/sh\nreboot\n", "found a script"),
        (b"\n#cloud-config\nruncmd: [reboot]\n", "found a cloud-config"),
        (b"#include\nhttp://192.0.2.1/x\n", "found a list of addresses"),
        (b"Content-Type: multipart/mixed; boundary=x\n", "found a message of several parts"),
        (b"\x1f\x8b\x08", "found gzip"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"- a\n", "found list; allowed: settings"),
        (b"", "found NoneType; allowed: settings"),
        (b"runcmd: [reboot]\n", "runcmd: found an unknown setting"),
        (b"hostname: !file /etc/shadow\n", "!file is known in an operator's site file only"),
        (b"hostname: !!python/object/apply:os.system [reboot]\n", "could not determine a constructor"),
        (b"hostname: a\nhostname: b\n", "stands twice (line 2, column 1)"),
    ],
)
def test_anything_else_is_refused_with_what_was_found(data: bytes, said: str, schema: Schema) -> None:
    assert said in refused(data, schema)


@pytest.mark.parametrize(
    "line",
    [
        "snmp: {users: {monitor: {auth_passphrase: Never-In-A-Log-123, privacy_passphrase: Never-In-A-Log-123}}}",
        "cli: {enable_secret_hash: Never-In-A-Log-123}",
    ],
)
def test_a_secret_in_clear_is_refused_and_not_repeated(line: str, schema: Schema) -> None:
    said = refused(f"{site.text()}{line}\n".encode(), schema)
    assert "found a secret in clear; allowed: in user-data only hashes" in said
    assert site.SECRET not in said


def test_a_line_that_cannot_be_read_is_not_repeated(schema: Schema) -> None:
    said = refused(f"{site.text()}cli: {{enable_secret_hash: {site.SECRET}: }}: [\n".encode(), schema)
    assert "is not YAML" in said
    assert "(line " in said
    assert site.SECRET not in said
