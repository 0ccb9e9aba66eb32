"""Copies of backups elsewhere as settings: what is rendered, who may dial whom, and where the access keys lie."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.features import backends, backup, offsite
from appliance.features.base import Flow, Tree
from appliance.offsite.settings import S3, Settings, Sftp, load
from appliance.plan import InvalidError

from .conftest import MATERIAL

LabWith = Callable[[Callable[[dict[str, Any]], None]], Tree]
PEM = (MATERIAL / "authority.pem").read_text()
HOST_KEY = " ".join((MATERIAL / "ecdsa.pub").read_text().split()[:2])
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
VAULT: dict[str, Any] = {"host": "vault.lab.test", "user": "gw1", "host_keys": [f"{HOST_KEY} root@vault"]}
ATTIC: dict[str, Any] = {
    "endpoint": "https://s3.lab.test:9000",
    "region": "lab-1",
    "bucket": "backups",
    "access_key_id": "AKIAIOSFODNN7EXAMPLE",
    "secret_access_key": SECRET,
}
KEPT = {"on_change": True, "passphrase": "kept under this passphrase"}


def with_copies(lab_with: LabWith, **settings: Any) -> Tree:
    """The lab with kept backups and these settings."""
    return lab_with(lambda tree: tree.update(backup={**KEPT, **settings}))


def read(tree: Tree, folder: Path) -> Settings:
    """The settings as the service reads them."""
    place = folder / "offsite.json"
    place.write_text(backup.FEATURE.render(tree)[offsite.FILE].text)
    return load(place)


def test_the_service_reads_what_is_rendered(lab_with: LabWith, tmp_path: Path) -> None:
    whole = {**ATTIC, "prefix": "gw1/", "ca_certificates": PEM, "tls_versions": {"maximum": "1.3"}}
    tree = with_copies(
        lab_with, sftp={"vault": {**VAULT, "directory": "/srv/gw1", "port": 2222}}, s3={"attic": whole, "cloud": ATTIC}
    )
    common: dict[str, Any] = {"endpoint": "https://s3.lab.test:9000", "region": "lab-1", "bucket": "backups"}
    common["access_key_id"] = "AKIAIOSFODNN7EXAMPLE"
    assert read(tree, tmp_path) == Settings(
        destinations={
            "vault": Sftp(host="vault.lab.test", port=2222, user="gw1", host_keys=(HOST_KEY,), directory="/srv/gw1"),
            "attic": S3(**common, prefix="gw1/", trust=offsite.trust_path("attic"), maximum="1.3"),
            "cloud": S3(**common, trust=backends.SYSTEM_TRUST),
        },
        secrets=offsite.SECRETS,
    )
    files = backup.FEATURE.render(tree)
    assert files[offsite.trust_path("attic")].text == PEM
    file = files[offsite.FILE]
    assert (file.owner, file.group, file.mode) == ("root", "sentry-offsite", 0o640)
    assert SECRET not in file.text


class Box:
    """A machine with secrets and files, as far as access keys need one."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.owners: dict[str, str] = {}

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def secret(self, reference: str) -> str:
        return f"revealed {reference}"

    def run(self, argv: list[str], *, stdin: str | None = None) -> str:
        match argv:
            case ["install", "-d", *_]:
                return ""
            case ["install", "-o", owner, "-g", group, "-m", mode, "--", "/dev/stdin", place]:
                self.files[place], self.owners[place] = stdin or "", f"{mode.lstrip('0')} {owner}:{group}"
            case ["mv", "-f", "-T", "--", new, place]:
                self.files[place], self.owners[place] = self.files.pop(new), self.owners.pop(new)
            case ["rm", "-f", "--", place]:
                del self.files[place]
            case ["stat", "-c", _form, "--", place]:
                return self.owners[place]
            case _:
                raise AssertionError(argv)
        return ""


def test_access_keys_lie_where_the_service_alone_reads_them_and_go_with_their_buckets(lab_with: LabWith) -> None:
    box, both = Box(), with_copies(lab_with, s3={"attic": ATTIC, "cloud": ATTIC})
    assert backup.FEATURE.reconcile is not None
    assert backup.FEATURE.reconcile(both, box)
    reference = both["backup"]["s3"]["attic"]["secret_access_key"]
    assert json.loads(box.files[offsite.SECRETS]) == dict.fromkeys(("attic", "cloud"), f"revealed {reference}")
    assert box.owners[offsite.SECRETS] == "640 root:sentry-offsite"
    assert SECRET not in str(both)
    assert not backup.FEATURE.reconcile(both, box)
    assert backup.FEATURE.reconcile(with_copies(lab_with, s3={"cloud": ATTIC}), box)
    assert set(json.loads(box.files[offsite.SECRETS])) == {"cloud"}
    assert backup.FEATURE.reconcile(with_copies(lab_with), box)
    assert box.files == {}
    assert not backup.FEATURE.reconcile(with_copies(lab_with), box)


def test_where_nothing_is_sent_there_is_no_file_and_no_way_out(trees: dict[str, Tree], lab_with: LabWith) -> None:
    for tree in (trees["lab"], with_copies(lab_with)):
        assert (dict(backup.FEATURE.render(tree)), backup.FEATURE.flows(tree)) == ({}, ())


def test_the_service_alone_may_dial_the_destinations(lab_with: LabWith) -> None:
    vault = {**VAULT, "networks": ["192.0.2.0/24"]}
    numbered = {**ATTIC, "endpoint": "https://198.51.100.9"}
    tree = with_copies(lab_with, sftp={"vault": vault}, s3={"attic": ATTIC, "cloud": numbered})
    assert backup.FEATURE.flows(tree) == (
        Flow("backup", "out", "tcp", 22, None, ("192.0.2.0/24",), "sentry-offsite"),
        Flow("backup", "out", "tcp", 9000, None, (), "sentry-offsite"),
        Flow("backup", "out", "tcp", 443, None, ("198.51.100.9",), "sentry-offsite"),
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sftp": {"vault": {**VAULT, "host_keys": []}}}, "host_keys"),
        ({"sftp": {"vault": {**VAULT, "host_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA=="]}}}, "host_keys"),
        ({"sftp": {"vault": {name: one for name, one in VAULT.items() if name != "host_keys"}}}, "host_keys"),
        ({"sftp": {"vault": {**VAULT, "user": "-oProxyCommand=id"}}}, "user"),
        ({"sftp": {"vault": {**VAULT, "host": "-oProxyCommand=id"}}}, "host"),
        ({"sftp": {"vault": {**VAULT, "directory": "../up"}}}, "directory"),
        ({"sftp": {"vault": {**VAULT, "directory": 'a" "b'}}}, "directory"),
        ({"s3": {"attic": {**ATTIC, "endpoint": "http://s3.lab.test"}}}, "endpoint"),
        ({"s3": {"attic": {**ATTIC, "endpoint": "https://s3.lab.test/backups"}}}, "endpoint"),
        ({"s3": {"attic": {**ATTIC, "bucket": "a/b"}}}, "bucket"),
        ({"s3": {"attic": {**ATTIC, "prefix": "../x/"}}}, "prefix"),
        ({"s3": {"attic": {**ATTIC, "secret_access_key": "short"}}}, "secret_access_key"),
        ({"s3": {"attic": {**ATTIC, "tls_versions": {"minimum": "1.3"}}}}, "tls_versions"),
        ({"sftp": {"vault": VAULT}, "s3": {"vault": ATTIC}}, "every name once"),
        ({"on_change": False, "sftp": {"vault": VAULT}}, "nothing unless backups are kept"),
    ],
)
def test_what_is_not_allowed_is_said(lab_with: LabWith, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidError) as refused:
        with_copies(lab_with, **settings)
    assert said in str(refused.value)
    assert SECRET not in str(refused.value)
