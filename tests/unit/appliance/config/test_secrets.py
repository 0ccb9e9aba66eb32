"""Secrets go into the store as they enter and never come out of it by themselves."""

import stat
from pathlib import Path
from typing import Any

import pytest

from appliance.config.diff import diff, digest
from appliance.config.schema import Schema
from appliance.config.secrets import (
    MASK,
    SECRET_BYTES,
    Memory,
    SecretError,
    Secrets,
    conceal,
    masked,
    references,
    too_long,
    unmask,
)
from appliance.configd.api import Change
from appliance.features.base import Feature
from appliance.plan import InvalidError, accept
from tests.unit.appliance.workbench import FEATURES

SCHEMA = Schema(FEATURES)


@pytest.fixture
def vault(tmp_path: Path) -> Secrets:
    return Secrets(tmp_path / "secrets")


def test_the_same_value_has_the_same_reference_also_after_a_restart(vault: Secrets, tmp_path: Path) -> None:
    reference = vault.keep("hunter22")
    assert vault.keep("hunter22") == reference
    assert vault.keep("hunter23") != reference
    assert Secrets(tmp_path / "secrets").keep("hunter22") == reference
    assert Secrets(tmp_path / "secrets").reveal(reference) == "hunter22"


def test_another_machine_has_another_reference(vault: Secrets, tmp_path: Path) -> None:
    assert Secrets(tmp_path / "other").keep("hunter22") != vault.keep("hunter22")


def test_the_store_is_its_owners_alone(vault: Secrets, tmp_path: Path) -> None:
    vault.keep("hunter22")
    places = list((tmp_path / "secrets").iterdir())
    assert len(places) == 2
    assert {stat.S_IMODE(place.stat().st_mode) for place in places} == {0o600}
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


@pytest.mark.parametrize("reference", ["secret:" + "0" * 64, "secret:../../etc/shadow", "hunter22", ""])
def test_a_reference_that_leads_nowhere_is_an_error(vault: Secrets, reference: str) -> None:
    with pytest.raises(SecretError):
        vault.reveal(reference)
    with pytest.raises(SecretError):
        Memory().reveal(reference)


def test_a_damaged_key_is_no_key(vault: Secrets, tmp_path: Path) -> None:
    (tmp_path / "secrets/key").write_bytes(b"short")
    with pytest.raises(SecretError, match="holds 5 bytes; 32 are expected"):
        Secrets(tmp_path / "secrets")


def test_what_nothing_refers_to_is_collected(vault: Secrets) -> None:
    kept, gone = vault.keep("kept"), vault.keep("gone")
    assert vault.collect([{"a": [{"b": kept}]}]) == 1
    assert vault.reveal(kept) == "kept"
    with pytest.raises(SecretError):
        vault.reveal(gone)
    assert vault.keep("gone") == gone


def test_what_enters_is_swapped_for_a_reference_and_masked_on_its_way_out(vault: Secrets) -> None:
    tree = accept(SCHEMA, {"name": "b", "web": {"token": "hunter22"}}, {}, vault)
    assert vault.reveal(tree["web"]["token"]) == "hunter22"
    assert list(references(masked(tree))) == []
    assert masked(tree)["web"]["token"] == MASK


def test_the_mask_means_as_before(vault: Secrets) -> None:
    before = accept(SCHEMA, {"name": "b", "web": {"token": "hunter22"}}, {}, vault)
    assert accept(SCHEMA, masked(before), before, vault) == before


def test_the_mask_where_no_secret_was_is_refused(vault: Secrets) -> None:
    with pytest.raises(InvalidError, match=r"web\.token: found the mask of a secret; allowed: a new secret"):
        accept(SCHEMA, {"name": "b", "web": {"token": MASK}}, {}, vault)


def test_a_reference_is_taken_only_when_its_secret_is_there(vault: Secrets) -> None:
    known = vault.keep("hunter22")
    assert accept(SCHEMA, {"name": "b", "web": {"token": known}}, {}, vault)["web"]["token"] == known
    with pytest.raises(InvalidError, match=r"web\.token: found a reference to a secret that is not there"):
        accept(SCHEMA, {"name": "b", "web": {"token": "secret:" + "0" * 64}}, {}, vault)


def test_a_secret_of_unreasonable_length_is_refused_without_being_shown() -> None:
    found = too_long(SCHEMA, {"web": {"token": "x" * (SECRET_BYTES + 1)}})
    assert [str(problem) for problem in found] == [
        f"web.token: found a secret value; allowed: at most {SECRET_BYTES} characters"
    ]


def test_the_mask_in_a_list_belongs_to_the_item_of_the_same_name(vault: Secrets) -> None:
    item = {
        "type": "dict",
        "schema": {"name": {"type": "string"}, "key": {"type": "string", "meta": {"secret": True}}},
    }
    schema = Schema((Feature(name="peers", label="P", schema={"type": "list", "schema": item}),))
    before = conceal(schema, {"peers": [{"name": "a", "key": "one"}, {"name": "b", "key": "two"}]}, vault)
    moved = {"peers": [{"name": "b", "key": MASK}, {"name": "a", "key": MASK}, {"name": "c", "key": MASK}]}
    plain, problems = unmask(schema, moved, before, vault)
    assert [peer["key"] for peer in plain["peers"]] == ["two", "one", None]
    assert [problem.path for problem in problems] == ["peers.2.key"]


def test_a_difference_names_each_setting_and_masks_secrets(vault: Secrets) -> None:
    before = accept(SCHEMA, {"name": "b", "web": {"token": "hunter22", "words": ["a"]}}, {}, vault)
    tree: dict[str, Any] = {"name": "b", "web": {"token": "hunter23", "sites": {"one": {"root": "/"}}, "words": ["b"]}}
    after = accept(SCHEMA, tree, before, vault)
    assert diff(before, after) == (
        Change(path=("web", "sites", "one", "level"), after=1),
        Change(path=("web", "sites", "one", "root"), after="/"),
        Change(path=("web", "token"), before=MASK, after=MASK),
        Change(path=("web", "words"), before=["a"], after=["b"]),
    )
    assert diff(after, after) == ()


def test_an_empty_group_that_comes_or_goes_is_a_difference() -> None:
    assert diff({"a": {}}, {}) == (Change(path=("a",), before={}),)
    assert diff({}, {"a": {}}) == (Change(path=("a",), after={}),)


def test_the_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": {"c": 2, "d": 3}}) == digest({"b": {"d": 3, "c": 2}, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
