"""One canonical name for one person."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.devices import store
from sentry_runtime.eas import principal
from sentry_runtime.eas.principal import PrincipalError, canonical, same_person


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


def test_the_bound_is_that_of_the_device_list() -> None:
    """A principal that was read can always be looked up."""
    assert principal.PRINCIPAL_BYTES == store.PRINCIPAL_BYTES
