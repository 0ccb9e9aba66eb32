"""No verb and no template takes a command or a path of the file system, and no text reaches either without bounds."""

import re
import types
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import cerberus
import jinja2
import msgspec
import pytest
from jinja2 import meta, nodes

from appliance.config.schema import _Validator
from appliance.configd import api
from appliance.features import FEATURES
from appliance.features.template import TEMPLATES

GOLDEN = Path(__file__).parent / "features" / "golden"
RUNS = re.compile(
    r"command|cmd|exec|shell|(?<!de)script|program|argv|path|folder|directory|file(?!ter)|hook|plugin|module|include|template|format"
)
"""Names under which somebody would pass a command or a place of the file system."""

# --- verbs -------------------------------------------------------------------------------------------------------

REVIEWED_FIELDS = {
    ("config.get", "path"): "of the configuration: its words are looked up in the schema",
    ("config.set", "path"): "as above",
    ("config.delete", "path"): "as above",
    ("device.explain", "command"): "an ActiveSync command's name, which the gateway looks up in its table",
}
REVIEWED_LONG = {
    ("certificate.upload", "certificate"): "a chain of certificates (PEM), parsed as nothing else",
    ("certificate.present", "certificate"): "a certificate (DER) in base64, parsed as nothing else",
    ("certificate.upload_pkcs12", "pkcs12"): "a key and its chain in base64, parsed as nothing else",
    ("backup.restore", "backup"): "a sealed file in base64, which its passphrase opens before anything in it is read",
}
LONG, LONGEST = 1_024, 131_072
A_BACKUP = 1_500_000
OF_FILES = {("backup.restore", "backup"): A_BACKUP, ("software.upload", "data"): A_BACKUP}
"""Files in base64, or pieces of one."""
REVIEWED_ANY = {
    ("config.set", "value"): "the schema's rules of that path judge it",
    ("config.delete", "value"): "one that is in the list already",
    ("config.replace", "tree"): "the whole schema judges it",
    ("config.merge", "patch"): "the whole schema judges what comes of it",
}


def texts(kind: Any, bound: int | None = None) -> Iterator[int | None]:
    """The bound of each text in a type; None where it has none. Literals are bounded by themselves."""
    if get_origin(kind) is Annotated:
        inner, *notes = get_args(kind)
        bounds = [note.max_length for note in notes if isinstance(note, msgspec.Meta) and note.max_length]
        yield from texts(inner, bounds[0] if bounds else None)
        if get_origin(inner) in (tuple, list, dict) and not bounds:
            yield None
    elif kind is str:
        yield bound
    elif get_origin(kind) in (Union, types.UnionType, tuple, list):
        for inner in get_args(kind):
            yield from texts(inner)
    elif kind not in (int, bool, float, type(None), Ellipsis) and get_origin(kind) is not Literal:
        raise AssertionError(f"{kind}: a type that nobody has looked at")


FIELDS = [(verb.__struct_config__.tag, field) for verb in get_args(api.Verb) for field in msgspec.structs.fields(verb)]


def test_every_field_of_every_verb_is_looked_at() -> None:
    assert len(FIELDS) > 60
    assert {tag for tag, _field in FIELDS} == {verb.__struct_config__.tag for verb in get_args(api.Verb)}
    known = {(tag, field.name) for tag, field in FIELDS}
    assert set(REVIEWED_FIELDS) | set(REVIEWED_LONG) | set(REVIEWED_ANY) <= known


@pytest.mark.parametrize(("tag", "field"), FIELDS, ids=[f"{tag}-{field.name}" for tag, field in FIELDS])
def test_no_verb_takes_a_command_a_path_or_text_without_end(tag: str, field: Any) -> None:
    assert not RUNS.search(field.name) or (tag, field.name) in REVIEWED_FIELDS
    if (tag, field.name) in REVIEWED_ANY:
        return
    longest = LONGEST if (tag, field.name) in REVIEWED_LONG else LONG
    longest = OF_FILES.get((tag, field.name), longest)
    assert all(bound is not None and bound <= longest for bound in texts(field.type)), field.type


def test_a_verb_without_a_bound_would_be_seen() -> None:
    assert list(texts(str)) == [None]
    assert list(texts(tuple[str, ...])) == [None]
    assert None in list(texts(Annotated[tuple[api.Word, ...], msgspec.Meta()]))
    with pytest.raises(AssertionError, match="nobody has looked at"):
        list(texts(dict[str, Any]))
    assert [bool(RUNS.search(name)) for name in ("pre_command", "log_file", "filter")] == [True, True, False]


WITH_TEXT = [one for one in FIELDS if (one[0], one[1].name) not in REVIEWED_ANY and list(texts(one[1].type))]


@pytest.mark.parametrize(("tag", "field"), WITH_TEXT, ids=[f"{tag}-{field.name}" for tag, field in WITH_TEXT])
def test_a_text_beyond_its_bound_is_no_message(tag: str, field: Any) -> None:
    """The type itself refuses it, before anybody's code sees it."""
    flood = "x" * (A_BACKUP + 1)
    with pytest.raises(msgspec.ValidationError, match="length <="):
        msgspec.convert([flood] if field.name in ("path", "networks") else flood, field.type)


# --- settings ----------------------------------------------------------------------------------------------------

SEVERAL_LINES = {"banner.text": "people read it; each daemon shows the whole file, and agetty's backslash is doubled"}
IN_NO_FILE_OF_A_DAEMON = ("unapproved_in_rom_application_list[]",)
"""Names of applications, which go to devices as WBXML strings: what ends a line in Unicode alone may be in them."""
UNICODE_ONLY = ("\x7f", "\x85", "\u2028")
REVIEWED_SETTINGS = {
    "alerts.actions.directory_down": "what is done about the alert of this name, one of a few words",
    "certificates.acme.directory": "the URL of what RFC 8555 calls a directory",
    "backup.sftp.*.directory": "a place on another machine, of letters and digits, quoted for OpenSSH's client",
}
"""Settings whose names sound like a command or a path, and what they are."""
CONTROLS = ("\x00", "\n", "\r", "\x1b", "\x7f", "\x85", "\u2028")
BAITS = ("x", "1", "192.0.2.1", "a.example", "https://a.example/x", "1.2", "user@a.example")


def leaves(path: str, rules: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every text a site may write: values, items of lists, names of instances."""
    kinds = (
        [rules["type"]]
        if isinstance(rules.get("type", "string"), str) and "type" in rules
        else list(rules.get("type", ["string"]))
    )
    if "string" in kinds:
        yield path, rules
    if isinstance(rules.get("keysrules"), Mapping):
        yield from leaves(f"{path}.(name)", rules["keysrules"])
    if isinstance(rules.get("valuesrules"), Mapping):
        yield from leaves(f"{path}.*", rules["valuesrules"])
    inner = rules.get("schema")
    if "dict" in kinds and isinstance(inner, Mapping):
        for name, one in inner.items():
            yield from leaves(f"{path}.{name}", one)
    elif "list" in kinds and isinstance(inner, Mapping):
        yield from leaves(f"{path}[]", inner)


LEAVES = [leaf for feature in FEATURES for leaf in leaves(feature.name, feature.schema)]


def takes(rules: Mapping[str, Any], value: str) -> str | None:
    """What becomes of a value: the text that features would render, or None where it is refused."""
    alone = {key: one for key, one in rules.items() if key not in ("required", "default", "dependencies")}
    validator: cerberus.Validator = _Validator({"x": deepcopy(alone)})
    return str(validator.document["x"]) if validator.validate({"x": value}) else None


def test_the_features_have_texts_to_look_at() -> None:
    assert len(LEAVES) > 60


@pytest.mark.parametrize(("path", "rules"), LEAVES, ids=[path for path, _rules in LEAVES])
def test_no_setting_takes_a_command_a_path_or_a_second_line(path: str, rules: Mapping[str, Any]) -> None:
    """A line end in a value would be a directive of its own in a daemon's file."""
    name = path.rpartition(".")[2].strip("[]*()")
    assert not RUNS.search(name) or path in REVIEWED_SETTINGS
    assert {"allowed", "regex", "check_with"} & set(rules), f"{path}: any text at all"
    for control in CONTROLS:
        if control in UNICODE_ONLY and path.endswith(IN_NO_FILE_OF_A_DAEMON):
            continue
        for bait in BAITS:
            for value in (f"{bait}{control}{bait}", f"{bait}{control}", f"{control}{bait}"):
                rendered = takes(rules, value)
                several = path in SEVERAL_LINES and control in ("\n", "\r")
                assert rendered is None or several or control not in rendered, (value, rendered)


@pytest.mark.parametrize(("path", "rules"), LEAVES, ids=[path for path, _rules in LEAVES])
def test_no_setting_takes_text_without_end(path: str, rules: Mapping[str, Any]) -> None:
    for bait in ("x", "1", "x ", "1,"):
        assert takes(rules, bait * 600_000) is None


# --- templates ---------------------------------------------------------------------------------------------------

REVIEWED_INPUTS = {
    "keys": "sshd.conf.j2: a folder that the code names",
    "banner": "sshd.conf.j2: a file that the code names",
    "trust_path": "rsyslog.conf.j2: the code's own folder and a server's name, which the schema bounds to a word",
    "file_mib": "rsyslog.conf.j2: a number that the code names",
    "users_file": "snmpd.conf.j2: a file that the code names",
}
STARTS = re.compile(
    r"(?i)^\s*(ForceCommand|AuthorizedKeysCommand|AuthorizedPrincipalsCommand|Subsystem|XAuthLocation|ProxyCommand|PKCS11Provider"
    r"|SecurityKeyProvider|mailonchange|Exec\w*|program|.*type=\"?(omprog|mmexternal|improg)|include)\b"
)
"""Directives by which the daemons that we write files for would start a program or read another file."""
PLACES = sorted(TEMPLATES.glob("*.j2"))


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_no_template_takes_a_command_or_a_path(place: Path) -> None:
    tree = jinja2.Environment().parse(place.read_text())  # noqa: S701 - parsed only
    inputs = meta.find_undeclared_variables(tree)
    names = inputs | {node.attr for node in tree.find_all(nodes.Getattr)}
    assert [name for name in sorted(names) if RUNS.search(name) and name not in REVIEWED_INPUTS] == []
    assert not any(
        isinstance(node, nodes.Include | nodes.Import | nodes.FromImport | nodes.Extends)
        for node in tree.find_all(nodes.Node)
    )
    assert all(REVIEWED_INPUTS[name].startswith(f"{place.name}:") for name in inputs & set(REVIEWED_INPUTS))


RENDERED = sorted(place for place in GOLDEN.rglob("*.golden") if place.is_file())


@pytest.mark.parametrize("place", RENDERED, ids=lambda place: str(place.relative_to(GOLDEN)))
def test_no_rendered_file_has_a_daemon_start_anything(place: Path) -> None:
    assert [line for line in place.read_text().splitlines() if STARTS.match(line)] == []


def test_the_daemons_own_checkers_are_programs_and_words_that_the_code_names() -> None:
    for feature in FEATURES:
        for check in feature.checks:
            assert re.fullmatch(r"[a-z][a-z0-9_-]*", check.argv[0])
            assert all(re.fullmatch(r"-{0,2}[A-Za-z0-9=_-]+|\{/[A-Za-z0-9./_-]+\}", word) for word in check.argv[1:])
