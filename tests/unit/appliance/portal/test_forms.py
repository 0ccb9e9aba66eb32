"""Forms from the schema: a page for every place of the configuration, and what comes back from each kind of control."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from multidict import MultiDict, MultiDictProxy

from appliance.config.paths import describe
from appliance.config.schema import Schema
from appliance.features import FEATURES
from appliance.portal import forms, reading
from appliance.portal.forms import Path
from appliance.portal.reading import ABSENT, Edit
from tests.unit.appliance.cli.desk import SITE


@cache
def schema() -> Schema:
    return Schema(FEATURES)


@cache
def filled() -> dict[str, Any]:
    return schema().fill(SITE)


def places(path: Path = ()) -> Iterator[Path]:
    """Every place of the schema that is a page: of named instances and lists of groups, the list and one of its items."""
    if not path:
        for name in schema().root:
            yield from places((name,))
        return
    yield path
    node = describe(schema(), path)
    assert node is not None
    if node.kind == "group":
        for child in node.children:
            inner = describe(schema(), (*path, child))
            if inner is not None and inner.kind in ("group", "named", "table"):
                yield from places((*path, child))
    elif node.kind in ("named", "table"):
        yield from places((*path, "0" if node.kind == "table" else "x"))


PLACES = list(places())


def posted(*pairs: tuple[str, str]) -> MultiDictProxy[str]:
    return MultiDictProxy(MultiDict(pairs))


def held(path: Path) -> Any:
    """What a small site has there."""
    here: Any = filled()
    for step in path:
        here = here.get(step) if isinstance(here, dict) else None
    return here


def edits(path: Path, *pairs: tuple[str, str], value: Any = None) -> tuple[tuple[Edit, ...], tuple[str, ...]]:
    """What a form at `path` says when these fields are sent."""
    have = held(path) if value is None else value
    sheet = forms.sheet(schema(), path, have)
    assert sheet is not None
    taken = reading.read(schema(), sheet, have, posted(*pairs))
    return taken.edits, taken.problems


def test_there_are_many_places() -> None:
    assert len(PLACES) > 80
    assert ("uem", "security_policies", "x", "minimum_os") in PLACES


@pytest.mark.parametrize("path", PLACES, ids=".".join)
def test_every_place_has_a_page_with_a_label_and_help_for_each_setting(path: Path) -> None:
    """And every setting of the schema below it is a field of this page or lies behind one of its links."""
    sheet = forms.sheet(schema(), path, None)
    assert sheet is not None
    node = describe(schema(), path)
    assert node is not None
    if node.kind == "group":
        shown = {field.path for field in sheet.fields} | {link.path for link in sheet.links}
        shown |= {part.path for part in sheet.parts}
        assert {(*path, child) for child in node.children} <= shown
    for field in sheet.fields:
        assert field.label
        assert field.allowed
        assert field.control in ("secret", "secret_lines") or field.values
    names = [field.name for field in sheet.fields]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", PLACES, ids=".".join)
def test_a_form_that_is_sent_back_as_it_was_shown_changes_nothing(path: Path) -> None:
    have = held(path)
    sheet = forms.sheet(schema(), path, have)
    assert sheet is not None
    if have is None:
        return  # a new instance: there is nothing to send back
    pairs = [(field.name, value) for field in sheet.fields for value in field.values or ("",)]
    taken = reading.read(schema(), sheet, have, posted(*pairs))
    assert taken.edits == ()
    assert [one for one in taken.problems if "found nothing" not in one] == []


def test_a_list_shows_what_it_has_and_one_row_to_add_to_it() -> None:
    """One that is not set shows that row alone; one that is full shows none."""
    lists = {"unset": 0, "set": 0}
    for path in PLACES:
        have = held(path)
        sheet = forms.sheet(schema(), path, have)
        assert sheet is not None
        for field in sheet.fields:
            if field.control == "list":
                said = tuple(one for one in field.values if one)
                lists["set" if said else "unset"] += 1
                most = (schema().rules_at(field.path) or {}).get("maxlength")
                assert field.values == (said if len(said) == most else (*said, "")), field.path
    assert min(lists.values()) > 1, lists


def test_more_rows_come_by_the_button() -> None:
    sheet = forms.sheet(schema(), ("ntp",), {"servers": ["192.0.2.1"]})
    assert sheet is not None
    longer = reading.with_more_rows(schema(), sheet, "f.servers")
    (field,) = [one for one in longer.fields if one.name == "f.servers"]
    assert field.values == ("192.0.2.1", *("",) * (1 + reading.MORE))


@pytest.mark.parametrize(
    ("path", "pairs", "expected"),
    [
        (("portal",), [("f.idle_minutes", "20")], [Edit(("portal", "idle_minutes"), 20)]),
        (("portal",), [("f.idle_minutes", "")], []),
        (("portal",), [("f.idle_minutes", "many")], [Edit(("portal", "idle_minutes"), "many")]),
        (("portal",), [("f.idle_minutes", "15")], []),
        (
            ("ssh",),
            [("f.password_authentication", "off")],
            [Edit(path=("ssh", "password_authentication"), value=False)],
        ),
        (("snmp",), [("f.location", " here ")], [Edit(("snmp", "location"), "here")]),
        (("snmp",), [("f.location", "")], []),
        (
            ("snmp",),
            [("f.managers", "192.0.2.0/24"), ("f.managers", " "), ("f.managers", "2001:db8::/32")],
            [Edit(("snmp", "managers"), ["192.0.2.0/24", "2001:db8::/32"])],
        ),
        (("ntp",), [("f.servers", "")], [Edit(("ntp", "servers"), [])]),
        (("banner",), [("f.text", "one\r\ntwo\r\n")], [Edit(("banner", "text"), "one\r\ntwo\r\n")]),
        (("banner",), [("f.text", "I've read and consent to terms in IS user agreem't\r\n")], []),
        (
            ("interfaces", "mgmt0"),
            [("f.vlan.parent", "eth0"), ("f.vlan.id", "7")],
            [Edit(("interfaces", "mgmt0", "vlan", "parent"), "eth0"), Edit(("interfaces", "mgmt0", "vlan", "id"), 7)],
        ),
        (("interfaces", "mgmt0"), [("f.vlan.parent", ""), ("f.vlan.id", "")], []),
        (("hostname",), [("f.hostname", "gw2.example.test")], [Edit(("hostname",), "gw2.example.test")]),
    ],
)
def test_what_is_typed_becomes_the_schema_s_type(
    path: Path, pairs: list[tuple[str, str]], expected: list[Edit]
) -> None:
    found, problems = edits(path, *pairs)
    assert (list(found), problems) == (expected, ())


def test_an_emptied_setting_without_a_default_is_removed() -> None:
    value = {"zones": ["device"], "addresses": [], "gateway": "192.0.2.1", "mtu": 9_000}
    found, _problems = edits(("interfaces", "x"), ("f.gateway", ""), ("f.mtu", ""), value=value)
    assert found == (Edit(("interfaces", "x", "gateway"), ABSENT), Edit(("interfaces", "x", "mtu"), ABSENT))


def test_an_optional_group_that_is_emptied_is_removed_as_a_whole() -> None:
    value = {"zones": ["device"], "vlan": {"parent": "eth0", "id": 7}}
    found, _problems = edits(("interfaces", "x"), ("f.vlan.parent", ""), ("f.vlan.id", ""), value=value)
    assert found == (Edit(("interfaces", "x", "vlan"), ABSENT),)


def test_what_is_required_and_missing_is_told_beside_its_field() -> None:
    found, problems = edits(("snmp", "traps", "x"), ("f.address", ""), ("f.user", "monitor"), value={})
    assert found == (Edit(("snmp", "traps", "x", "user"), "monitor"),)
    assert [one.partition(":")[0] for one in problems] == ["snmp.traps.x.address"]
    sheet = forms.sheet(schema(), ("snmp", "traps", "x"), {})
    assert sheet is not None
    told = forms.with_problems(sheet, problems)
    assert [field.name for field in told.fields if field.problems] == ["f.address"]


SECRET = {"auth": "sha-256", "auth_passphrase": "********", "privacy_passphrase": "********"}


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("f.auth_passphrase", "")], []),
        ([("f.auth_passphrase", "a new one")], [Edit(("snmp", "users", "x", "auth_passphrase"), "a new one")]),
        (
            [("f.auth_passphrase", ""), ("remove.f.auth_passphrase", "on")],
            [Edit(("snmp", "users", "x", "auth_passphrase"), ABSENT)],
        ),
    ],
)
def test_a_secret_is_kept_replaced_or_removed_and_never_in_the_page(
    pairs: list[tuple[str, str]], expected: list[Edit]
) -> None:
    path = ("snmp", "users", "x")
    found, problems = edits(path, *pairs, value=SECRET)
    assert (list(found), problems) == (expected, ())
    sheet = forms.sheet(schema(), path, SECRET)
    assert sheet is not None
    taken = reading.read(schema(), sheet, SECRET, posted(*pairs))
    for page in (sheet, taken.typed):
        assert "a new one" not in repr(page)
        assert "********" not in repr(page)


def test_problems_without_a_field_stand_above_the_form() -> None:
    sheet = forms.sheet(schema(), ("ntp",), held(("ntp",)))
    assert sheet is not None
    told = forms.with_problems(sheet, ("dns.servers: found x; allowed: y", "ntp.servers.1: found 'b'; allowed: c"))
    assert told.problems == ("dns.servers: found x; allowed: y",)
    (field,) = told.fields
    assert (field.problems, field.wrong_rows) == (("item 2: found 'b'; allowed: c",), frozenset({1}))


def test_edits_are_merged_into_the_whole_group() -> None:
    path = ("interfaces", "x")
    sheet = forms.sheet(schema(), path, None)
    assert sheet is not None
    made = (Edit((*path, "zones"), ["device"]), Edit((*path, "vlan", "id"), 7), Edit((*path, "mtu"), ABSENT))
    before = {"mtu": 9_000, "vlan": {"parent": "eth0"}}
    merged = reading.merged(sheet, before, made)
    assert merged == {"zones": ["device"], "vlan": {"parent": "eth0", "id": 7}}
    assert before == {"mtu": 9_000, "vlan": {"parent": "eth0"}}
