"""A typed name is a value in what is asked, whatever is typed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ldap3.operation.search import MATCH_EQUAL, parse_filter
from ldap3.utils.dn import parse_dn

from appliance.directory import filters
from appliance.directory.settings import Settings
from tests.directory_server import PEOPLE, DirectoryServer

from .conftest import settings_of

SETTINGS = settings_of(DirectoryServer("127.0.0.1", 636, 389, "/ca.pem", None))  # type: ignore[arg-type]  # no log: it does not run


@pytest.mark.parametrize(
    ("user", "asked"),
    [
        ("dora", "(uid=dora)"),
        ("*", r"(uid=\2a)"),
        ("dora)(objectClass=*", r"(uid=dora\29\28objectClass=\2a)"),
        ("dora)(|(uid=*", r"(uid=dora\29\28|\28uid=\2a)"),
        ("do\\2a", r"(uid=do\5c2a)"),
        ("dora\0", r"(uid=dora\00)"),
    ],
)
def test_what_means_something_in_a_filter_is_escaped(user: str, asked: str) -> None:
    assert filters.person(SETTINGS, user) == asked


@given(st.text(min_size=1, max_size=64).filter(lambda text: text.strip()))
def test_whatever_is_typed_the_filter_stays_one_comparison_of_one_attribute(user: str) -> None:
    parsed = parse_filter(filters.person(SETTINGS, user), None, False, True, None, False)  # type: ignore[no-untyped-call]  # noqa: FBT003 - ldap3's own
    assert len(parsed.elements) == 1
    (one,) = parsed.elements
    assert (one.tag, one.assertion["attr"], one.elements) == (MATCH_EQUAL, "uid", [])


@pytest.mark.parametrize(
    "user", ["dora", "dora,ou=elsewhere", "dora+cn=root", 'do"ra', " dora", "#dora", "do;ra", "do=ra"]
)
def test_a_name_is_one_part_of_a_distinguished_name(user: str) -> None:
    parts = parse_dn(filters.place(SETTINGS, user))
    assert [attribute for attribute, _value, _separator in parts] == ["uid", *(["ou", "dc", "dc"])]
    assert filters.place(SETTINGS, user).endswith(f",{PEOPLE}")


@pytest.mark.parametrize(
    ("membership", "asked"),
    [
        ("member", r"(member=cn=a \28b\29,dc=lab)"),
        ("uniqueMember", r"(uniqueMember=cn=a \28b\29,dc=lab)"),
        ("nested", r"(member:1.2.840.113556.1.4.1941:=cn=a \28b\29,dc=lab)"),
    ],
)
def test_a_group_is_asked_for_an_entry_by_the_attribute_that_is_set(membership: str, asked: str) -> None:
    settings: Settings = settings_of(
        DirectoryServer("127.0.0.1", 636, 389, "/ca.pem", None),  # type: ignore[arg-type]
        membership=membership,
    )
    assert filters.member(settings, "cn=a (b),dc=lab") == asked
