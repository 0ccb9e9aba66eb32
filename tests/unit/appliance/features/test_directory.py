"""A directory as settings: what is rendered, who may dial whom, where the password lies, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.directory.settings import Group, Server, Settings, load
from appliance.features import backends, directory
from appliance.features.base import Flow, Tree
from appliance.plan import InvalidError

from .conftest import MATERIAL
from .test_offsite import Box

LabWith = Callable[[Callable[[dict[str, Any]], None]], Tree]
PEM = (MATERIAL / "authority.pem").read_text()
SECRET = "account of the appliance"
GROUPS: dict[str, Any] = {
    "watchers": {"dn": "CN=Watchers,OU=Groups,DC=lab,DC=test", "role": "auditor"},
    "admins": {"dn": "CN=Gateway Admins,OU=Groups,DC=lab,DC=test", "role": "administrator"},
}
WHOLE: dict[str, Any] = {
    "servers": {
        "second": {"host": "dc2.lab.test", "priority": 20},
        "first": {"host": "198.51.100.9", "priority": 1, "port": 3269},
    },
    "base_dn": "OU=People,DC=lab,DC=test",
    "bind_account": "CN=sentry,OU=Services,DC=lab,DC=test",
    "bind_password": SECRET,
    "groups": GROUPS,
}


def with_directory(lab_with: LabWith, **settings: Any) -> Tree:
    """The lab with these settings beside the whole; None takes one away."""
    made = {name: value for name, value in {**WHOLE, **settings}.items() if value is not None}
    return lab_with(lambda tree: tree.update(directory=made))


def test_the_service_reads_what_is_rendered(lab_with: LabWith, tmp_path: Path) -> None:
    tree = with_directory(lab_with, ca_certificates=PEM, membership="nested", user_attribute="sAMAccountName")
    files = directory.FEATURE.render(tree)
    (place := tmp_path / "directory.json").write_text(files[directory.FILE].text)
    assert load(place) == Settings(
        servers=(Server(host="198.51.100.9", port=3269), Server(host="dc2.lab.test", port=636)),
        security="ldaps",
        trust=directory.TRUST,
        base="OU=People,DC=lab,DC=test",
        bind="account",
        account="CN=sentry,OU=Services,DC=lab,DC=test",
        password_path=directory.PASSWORD,
        user_attribute="sAMAccountName",
        membership="nested",
        groups=(
            Group(dn=GROUPS["admins"]["dn"], role="administrator"),
            Group(dn=GROUPS["watchers"]["dn"], role="auditor"),
        ),
        timeout_seconds=5,
    )
    assert files[directory.TRUST].text == PEM
    file = files[directory.FILE]
    assert (file.owner, file.group, file.mode) == ("root", "sentry-directory", 0o640)
    assert SECRET not in file.text


def test_people_bind_as_themselves_without_an_account(lab_with: LabWith) -> None:
    made = directory.settings(with_directory(lab_with, bind="user", bind_account=None, bind_password=None))
    assert made is not None
    assert (made.bind, made.account, made.password_path, made.trust) == ("user", "", "", backends.SYSTEM_TRUST)


def test_the_password_lies_where_the_service_alone_reads_it_and_goes_with_the_account(
    trees: dict[str, Tree], lab_with: LabWith
) -> None:
    box, tree = Box(), with_directory(lab_with)
    assert directory.FEATURE.reconcile is not None
    assert directory.FEATURE.reconcile(tree, box)
    assert box.files == {directory.PASSWORD: f"revealed {tree['directory']['bind_password']}"}
    assert box.owners[directory.PASSWORD] == "640 root:sentry-directory"
    assert SECRET not in str(tree)
    assert not directory.FEATURE.reconcile(tree, box)
    assert directory.FEATURE.reconcile(trees["lab"], box)
    assert box.files == {}


def test_without_a_server_there_is_no_file_and_no_way_out(lab_with: LabWith) -> None:
    tree = lab_with(lambda _tree: None)
    assert (dict(directory.FEATURE.render(tree)), directory.FEATURE.flows(tree)) == ({}, ())


def test_the_service_alone_may_dial_the_servers(lab_with: LabWith) -> None:
    assert directory.FEATURE.flows(with_directory(lab_with)) == (
        Flow("directory", "out", "tcp", 3269, None, ("198.51.100.9",), "sentry-directory"),
        Flow("directory", "out", "tcp", 636, None, (), "sentry-directory"),
    )
    near = with_directory(lab_with, networks=["192.0.2.0/24"], security="starttls")
    assert {(one.port, one.peers) for one in directory.FEATURE.flows(near)} == {
        (3269, ("192.0.2.0/24",)),
        (389, ("192.0.2.0/24",)),
    }


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"base_dn": None}, "directory.base_dn"),
        ({"groups": {}}, "directory.groups"),
        ({"bind_password": None}, "directory.bind_password"),
        ({"bind_account": None}, "directory.bind_account"),
        ({"bind": "user"}, "directory.bind_account"),
        ({"servers": {}}, "nothing without directory.servers"),
        ({"security": "plain"}, "ldaps, starttls"),
        ({"user_attribute": "uid=*)(|(uid"}, "the name of an attribute"),
        ({"user_attribute": "(uid"}, "the name of an attribute"),
        ({"base_dn": "everybody"}, "a distinguished name"),
        ({"base_dn": "OU=People,DC=lab,"}, "a distinguished name"),
        ({"base_dn": "OU=Peo\nple"}, "a distinguished name"),
        ({"bind_account": "sentry"}, "a user principal name"),
        ({"groups": {"admins": {**GROUPS["admins"], "role": "root"}}}, "administrator, operator, auditor"),
        (
            {"groups": {**GROUPS, "again": {**GROUPS["admins"], "dn": GROUPS["admins"]["dn"].lower()}}},
            "every group once",
        ),
        ({"servers": {"first": {"host": "ldap://dc1.lab.test"}}}, "an IPv4 or IPv6 address or a DNS name"),
        ({"timeout_seconds": 60}, "1 to 10"),
        ({"tls_versions": {"minimum": "1.3", "maximum": "1.2"}}, "directory.tls_versions.minimum"),
        ({"filter": "(uid=*)"}, "directory.filter"),
    ],
)
def test_what_cannot_be_asked_or_has_no_effect_is_refused(
    lab_with: LabWith, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidError, match=said.replace("(", r"\(")):
        with_directory(lab_with, **settings)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("DC=test", True),
        ("CN=Gateway Admins,OU=Groups,DC=lab,DC=test", True),
        ("CN=Doe\\, Jane, OU=People,DC=lab", True),
        ("CN=M\\c3\\bcller,DC=lab", True),
        ("CN=Müller+UID=7,DC=lab", True),
        ("CN=", False),
        ("CN=a,,DC=b", False),
        ("CN=a;DC=b", False),
        ('CN="a",DC=b', False),
        ("CN=a\\", False),
        ("CN=a\0b", False),
        (f"CN={'a' * directory.DN_CHARACTERS}", False),
    ],
)
def test_a_distinguished_name_is_one_as_the_standard_writes_it(text: str, is_one: bool) -> None:  # noqa: FBT001 - a table
    assert directory.is_dn(text) == is_one
