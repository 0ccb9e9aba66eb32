"""One canonical name for one person."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.devices import store
from sentry_runtime.eas import principal
from sentry_runtime.eas.principal import WRITTEN_CHARS, Names, PrincipalError, canonical, same_person, user_of


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("anna", "anna"),
        ("Anna", "anna"),
        ("ANNA@Lab.Test", "anna@lab.test"),
        ("LAB\\Anna", "anna@lab"),
        (".\\anna", "anna"),
        ("\\anna", "anna"),
        ("LAB\\anna@lab.test", "anna@lab.test"),
        (" anna ", "anna"),
        ("Jo\u0308rg", "jörg"),
        ("JÖRG", "jörg"),
        ("straße", "strasse"),
        ("anna+mail@lab.test", "anna+mail@lab.test"),
    ],
)
def test_every_form_has_one_name(name: str, wanted: str) -> None:
    """Case-folded, normalised, the domain behind the user."""
    assert canonical(name) == wanted


@pytest.mark.parametrize(
    "name", ["", " ", "@lab.test", "anna@", "a b", "a\x00b", "a\nb", "a@b@c", "A\\B\\c@", "x" * 321]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    """Nothing that could be read as two names, or forge a line."""
    with pytest.raises(PrincipalError):
        canonical(name)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("anna", "anna", True),
        ("anna", "anna@lab.test", True),
        ("anna@lab", "anna@lab.test", True),
        ("anna@lab.test", "anna@lab.test", True),
        ("anna@lab.test", "anna@lab.example", False),
        ("anna@la", "anna@lab.test", False),
        ("anna@test", "anna@lab.test", False),
        ("anna@a.b", "anna@a.b.c", False),
        ("anna", "bert", False),
        ("anna@lab", "bert@lab", False),
    ],
)
def test_who_may_be_the_same_person(one: str, other: str, *, same: bool) -> None:
    """In both directions."""
    assert same_person(one, other) is same
    assert same_person(other, one) is same


@given(st.text(max_size=40))
def test_a_canonical_name_is_its_own_canonical_name(name: str) -> None:
    """And fits into the device list."""
    try:
        once = canonical(name)
    except PrincipalError:
        return
    assert canonical(once) == once
    assert once.isprintable()
    assert 0 < len(once.encode()) <= store.PRINCIPAL_BYTES


SITE = Names({"corp": "corp.example", "lab": "ad.lab.test"}, "corp.example")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("anna", "anna@corp.example"),
        ("\\Anna", "anna@corp.example"),
        ("CORP\\anna", "anna@corp.example"),
        ("corp.example\\anna", "anna@corp.example"),
        ("anna@corp", "anna@corp.example"),
        ("Anna@Corp.Example", "anna@corp.example"),
        ("CORP\\anna@corp.example", "anna@corp.example"),
        ("LAB\\anna", "anna@ad.lab.test"),
        ("OTHER\\anna", "anna@other"),
        ("anna@other.example", "anna@other.example"),
        ("JÖRG", "jörg@corp.example"),
        ("Jo\u0308rg@CORP.example", "jörg@corp.example"),
    ],
)
def test_every_form_of_a_mailbox_has_one_name_where_the_site_says_how(name: str, wanted: str) -> None:
    """A domain the site says nothing of stays as it is."""
    assert SITE.canonical(name) == wanted


def test_an_account_of_the_servers_own_is_nobodys_of_the_default_domain() -> None:
    """Without a default domain it is read as before."""
    with pytest.raises(PrincipalError, match="principal_of_no_domain"):
        SITE.canonical(".\\anna")
    assert Names({"corp": "corp.example"}).canonical(".\\anna") == "anna"


def test_what_grows_beyond_the_device_lists_bound_is_refused() -> None:
    """By its domain, too."""
    assert SITE.canonical("x" * 307) == "x" * 307 + "@corp.example"
    with pytest.raises(PrincipalError, match="principal_malformed"):
        SITE.canonical("x" * 308)


@pytest.mark.parametrize(
    ("user", "may"),
    [
        ("anna", True),
        ("LAB\\anna", True),
        ("anna@lab", True),
        ("anna@ad.lab.test", True),
        ("ad\\anna", True),  # not a domain the site speaks of: read as carefully as without it
        ("CORP\\anna", False),
        ("anna@lab.test", False),
        ("bert", False),
    ],
)
def test_a_name_beside_the_credentials_has_no_default_domain(user: str, *, may: bool) -> None:
    """Phones of every domain send the bare name there."""
    assert SITE.may_be(user, "anna@ad.lab.test") is may


@pytest.mark.parametrize(
    ("domains", "default", "wrong"),
    [
        ({"CORP": "corp.example"}, "", "NetBIOS domain .* in lower case"),
        ({"": "corp.example"}, "", "NetBIOS"),
        ({"corp.example": "corp.example"}, "", "NetBIOS"),
        ({"a b": "corp.example"}, "", "NetBIOS"),
        ({"a\\b": "corp.example"}, "", "NetBIOS"),
        ({"a\x00b": "corp.example"}, "", "NetBIOS"),
        ({"x" * 16: "corp.example"}, "", "NetBIOS"),
        ({"corp": "corp"}, "", "DNS domain"),
        ({"corp": "Corp.Example"}, "", "DNS domain"),
        ({"corp": "corp..example"}, "", "DNS domain"),
        ({"corp": "corp.example\n"}, "", "DNS domain"),
        ({}, "corp", "DNS domain"),
        ({"one": "corp.example", "two": "corp.example"}, "", "would become one"),
    ],
)
def test_what_a_site_cannot_say(domains: dict[str, str], default: str, wrong: str) -> None:
    """Least of all that two domains' users are one."""
    with pytest.raises(ValueError, match=wrong):
        Names(domains, default)


parts = st.sampled_from(
    ["anna", "bert", "straße", "corp", "lab", "other", "corp.example", "ad.lab.test", "ad", "lab.test"]
)
names = st.one_of(
    parts, st.builds("{}@{}".format, parts, parts), st.builds("{}\\{}".format, parts, parts), st.text(max_size=20)
)


@given(names)
def test_the_sites_canonical_name_is_its_own(name: str) -> None:
    """Under the site's mapping and without it, so that whoever knows no mapping takes it as it is."""
    try:
        once = SITE.canonical(name)
    except PrincipalError:
        return
    assert SITE.canonical(once) == once == canonical(once)
    assert user_of(once) == user_of(canonical(name))


@given(names, names)
def test_two_names_become_one_only_by_the_sites_word(one: str, other: str) -> None:
    """That is: equal users, and two domains of which the site says that they are one."""
    try:
        plain, other_plain = sorted((canonical(one), canonical(other)))
        if SITE.canonical(one) != SITE.canonical(other) or plain == other_plain:
            return
    except PrincipalError:
        return
    assert user_of(plain) == user_of(other_plain)
    domains = {plain.partition("@")[2], other_plain.partition("@")[2]}
    assert domains <= {"", "corp", "corp.example"} or domains == {"lab", "ad.lab.test"}


def test_the_bound_is_that_of_the_device_list() -> None:
    """A principal that was read can always be looked up."""
    assert principal.PRINCIPAL_BYTES == store.PRINCIPAL_BYTES


def test_what_is_written_is_bounded_before_anything_is_made_of_it() -> None:
    """A run of marks on one letter takes time by the square, and comes from anybody."""
    assert canonical(" " * (WRITTEN_CHARS - 4) + "anna") == "anna"
    with pytest.raises(PrincipalError, match="principal_malformed"):
        canonical(" " * (WRITTEN_CHARS - 3) + "anna")
    apart = unicodedata.normalize("NFD", "\ud55c" * 50 + "@" + "\u00e4" * 40)
    assert Names().canonical(apart) == "\ud55c" * 50 + "@" + "\u00e4" * 40
