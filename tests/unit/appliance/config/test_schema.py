"""What the schema says of a tree, in the reader's words, and what it says of a path."""

from copy import deepcopy
from typing import Any

import pytest

from appliance.config import paths
from appliance.config.paths import PathError
from appliance.config.schema import Schema, SchemaError
from appliance.features import FEATURES as APPLIANCE
from appliance.features.base import Feature
from tests.unit.appliance.workbench import FEATURES, NAME

SCHEMA = Schema(FEATURES)
TREE: dict[str, Any] = {
    "name": "box",
    "web": {"port": 80, "words": ["a", "b"], "sites": {"one": {"root": "/srv"}}},
}
ALLOWED_PORT = "a whole number from 1 to 65535"


def problems(tree: object) -> list[str]:
    return [str(problem) for problem in SCHEMA.check(tree).problems]


def test_a_right_tree_is_completed_with_every_default() -> None:
    checked = SCHEMA.check(TREE)
    assert checked.problems == ()
    assert checked.tree["web"]["sites"]["one"] == {"root": "/srv", "level": 1}
    assert (checked.tree["web"]["on"], checked.tree["cli"]["idle_minutes"]) == (True, 10)


def test_checking_leaves_the_tree_and_the_schema_as_they_were() -> None:
    tree, root = deepcopy(TREE), deepcopy(SCHEMA.root)
    SCHEMA.check(tree)
    SCHEMA.fill(tree)["web"]["words"].append("c")
    SCHEMA.fill({})["web"]["sites"]["x"] = 1
    assert (tree, SCHEMA.root) == (TREE, root)


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({}, "name: found nothing; allowed: 1 to 8 lower-case letters"),
        ({"name": 5}, "name: found 5; allowed: 1 to 8 lower-case letters"),
        ({"name": "BOX"}, "name: found 'BOX'; allowed: 1 to 8 lower-case letters"),
        ({"name": None}, "name: found nothing; allowed: 1 to 8 lower-case letters"),
        ({"name": "b", "web": 5}, "web: found 5; allowed: a group of settings"),
        ({"name": "b", "web": {"port": "80"}}, f"web.port: found '80'; allowed: {ALLOWED_PORT}"),
        ({"name": "b", "web": {"port": True}}, f"web.port: found true; allowed: {ALLOWED_PORT}"),
        ({"name": "b", "web": {"on": "yes"}}, "web.on: found 'yes'; allowed: true or false"),
        (
            {"name": "b", "web": {"words": ["far too long a word"]}},
            "web.words.0: found 'far too long a word'; allowed: a string, at most 8 characters",
        ),
        (
            {"name": "b", "web": {"words": list("abcd")}},
            "web.words: found ['a', 'b', 'c', 'd']; allowed: a list, each item a string, at most 8 characters, at most 3 items",
        ),
        ({"name": "b", "web": {"sites": {"one": {}}}}, "web.sites.one.root: found nothing; allowed: a string"),
        (
            {"name": "b", "web": {"sites": {"ONE": {"root": "/"}}}},
            "web.sites.ONE: found the name 'ONE'; allowed: a string matching [a-z]+",
        ),
        (
            {"name": "b", "users": {"accounts": {"eve": {"role": "root"}}}},
            "users.accounts.eve.role: found 'root'; allowed: one of: administrator, operator, auditor",
        ),
        (
            {"name": "b", "wbe": {}},
            "wbe: found an unknown setting; allowed: web (did you mean that?), or one of: cli, name, ssh, users, web",
        ),
        ({"name": "b", "zzz": 1}, "zzz: found an unknown setting; allowed: cli, name, ssh, users, web"),
        ({"name": "b", "web": {True: 1}}, "web.True: found an unknown setting; allowed: on, port, sites, token, words"),
        ([], "(the whole file): found []; allowed: settings: name, users, cli, ssh, web"),
        ({1: 2}, "1: found a key that is no word; allowed: name, users, cli, ssh, web"),
    ],
)
def test_a_wrong_tree_is_refused_with_path_found_and_allowed(tree: object, said: str) -> None:
    assert problems(tree) == [said]


def test_every_problem_is_told_at_once() -> None:
    assert len(problems({"web": {"port": 0, "on": 1, "nope": 2}})) == 4


@pytest.mark.parametrize(
    "web",
    [
        {"token": "abc"},
        {"token": ["hunter2"]},
        {"token": {"x": "hunter2"}},
        ["hunter2"],
        "hunter2",
        {"sites": "hunter2"},
    ],
)
def test_a_secret_is_never_shown_as_what_was_found(web: Any) -> None:
    said = problems({"name": "b", "web": web})
    assert len(said) == 1
    assert "abc" not in said[0]
    assert ("hunter2" in said[0]) is (web == {"sites": "hunter2"})


def test_a_long_value_is_shown_in_part() -> None:
    said = problems({"name": "b" * 5_000})[0]
    assert "… (5002 characters)" in said
    assert len(said) < 200


def test_two_features_of_one_name_are_a_mistake_of_ours() -> None:
    with pytest.raises(SchemaError, match="two features are called name"):
        Schema((NAME, NAME))


def test_malformed_rules_are_seen() -> None:
    with pytest.raises(SchemaError, match="malformed"):
        Schema((Feature(name="x", label="X", schema={"type": "no such type"}),)).judge()


def test_the_rules_of_the_appliance_are_well_formed() -> None:
    """No process of the appliance looks any more."""
    appliance = Schema(APPLIANCE)
    assert len(appliance.features) >= 20
    appliance.judge()


# --- paths -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "word", "value"),
    [
        (("web", "port"), "8443", 8443),
        (("web", "on"), "off", False),
        (("web", "on"), "ON", True),
        (("web", "words"), "a, b,c", ["a", "b", "c"]),
        (("web", "words"), "", []),
        (("web", "words", "0"), "z", "z"),
        (("web", "words", "2"), "z", "z"),
        (("web", "sites", "new", "level"), "7", 7),
        (("web", "sites", "one", "root"), "007", "007"),
        (("name",), "5", "5"),
        (("web", "port"), "eight", "eight"),
        (("web", "port"), "²", "²"),
    ],
)
def test_words_become_what_the_schema_wants(path: tuple[str, ...], word: str, value: Any) -> None:
    before = deepcopy(TREE)
    changed = paths.put(SCHEMA, TREE, path, word)
    assert paths.get(changed, path) == value
    assert before == TREE


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (("wbe",), "wbe: found an unknown setting; allowed: web (did you mean that?)"),
        (("web", "prot"), "web.prot: found an unknown setting; allowed: port (did you mean that?)"),
        (("web", "port", "x"), "web.port.x: found an unknown setting; allowed: no setting below a value"),
        (("web", "words", "9"), "web.words.9: found item 9; allowed: an item from 0 to 2"),
        ((), ": found a path of 0 words; allowed: 1 to 12 words"),
        (("web",) * 13, "found a path of 13 words; allowed: 1 to 12 words"),
    ],
)
def test_an_unknown_path_is_refused(path: tuple[str, ...], said: str) -> None:
    with pytest.raises(PathError) as refused:
        paths.put(SCHEMA, TREE, path, "1")
    assert said in str(refused.value)


def test_a_list_that_is_not_there_yet_is_made_by_its_first_item() -> None:
    assert paths.put(SCHEMA, {}, ("web", "words", "0"), "a")["web"] == {"words": ["a"]}
    with pytest.raises(PathError, match="an item from 0 to 0"):
        paths.put(SCHEMA, {}, ("web", "words", "1"), "a")


def test_removing_a_setting_an_instance_and_an_item() -> None:
    assert "port" not in paths.remove(SCHEMA, TREE, ("web", "port"))["web"]
    assert paths.remove(SCHEMA, TREE, ("web", "sites", "one"))["web"]["sites"] == {}
    assert paths.remove(SCHEMA, TREE, ("web", "words"), "a")["web"]["words"] == ["b"]
    assert paths.remove(SCHEMA, TREE, ("web", "words", "1"))["web"]["words"] == ["a"]
    assert TREE["web"]["words"] == ["a", "b"]


@pytest.mark.parametrize(
    ("path", "item", "said"),
    [
        (("web", "words"), "z", "web.words: found 'z'; allowed: a, b"),
        (("web", "token"), None, "web.token: found nothing configured; allowed: a setting that is there"),
        (("web", "sites", "two"), None, "web.sites.two: found nothing configured; allowed: a setting that is there"),
        (("web", "sites", "two", "root"), None, "web.sites.two: found nothing configured; allowed: one"),
    ],
)
def test_removing_what_is_not_there_is_refused(path: tuple[str, ...], item: Any, said: str) -> None:
    with pytest.raises(PathError) as refused:
        paths.remove(SCHEMA, TREE, path, item)
    assert str(refused.value) == said


def test_what_is_still_missing_is_no_problem_of_an_edit_and_what_is_wrong_is() -> None:
    half = paths.put(SCHEMA, TREE, ("web", "sites", "two", "level"), "2")
    assert paths.problems_at(SCHEMA, half, ("web", "sites", "two", "level")) == ()
    wrong = paths.put(SCHEMA, TREE, ("web", "sites", "two", "level"), "x")
    assert [problem.path for problem in paths.problems_at(SCHEMA, wrong, ("web", "sites", "two", "level"))] == [
        "web.sites.two.level"
    ]


def test_a_path_describes_itself() -> None:
    whole = paths.describe(SCHEMA)
    port = paths.describe(SCHEMA, ("web", "port"))
    sites = paths.describe(SCHEMA, ("web", "sites"))
    words = paths.describe(SCHEMA, ("web", "words"))
    on = paths.describe(SCHEMA, ("web", "on"))
    token = paths.describe(SCHEMA, ("web", "token"))
    assert whole and port and sites and words and on and token  # noqa: PT018 - for the type checker
    assert (whole.kind, whole.children) == ("group", ("name", "users", "cli", "ssh", "web"))
    assert (port.kind, port.label, port.help, port.type, port.default) == ("value", "Port", "TCP.", "integer", 8443)
    assert port.allowed == ALLOWED_PORT
    assert (sites.kind, sites.children, sites.allowed) == ("named", ("root", "level"), "a string matching [a-z]+")
    assert (words.kind, words.type) == ("list", "string")
    assert on.choices == ("true", "false")
    assert (token.secret, token.default) == (True, "********")
    assert paths.describe(SCHEMA, ("web", "nope")) is None
    instance = paths.describe(SCHEMA, ("web", "sites", "anything"))
    assert instance is not None
    assert (instance.kind, instance.children) == ("group", ("root", "level"))


def test_the_appliance_s_own_features_make_a_schema_whose_every_path_has_words() -> None:
    from appliance.features import FEATURES as REAL  # noqa: PLC0415 - only this test speaks of the real ones

    schema, seen = Schema(REAL), 0
    stack: list[tuple[str, ...]] = [()]
    while stack:
        path = stack.pop()
        node = paths.describe(schema, path)
        assert node is not None
        assert node.label, path
        assert node.allowed, path
        seen += 1
        step = {"named": ("x",), "table": ("0",)}.get(node.kind, ())
        stack += [(*path, *step, child) for child in node.children]
    assert seen > 50
