"""The command table and the settings' grammar as wholes: nothing without help, nothing out of reach, nothing ambiguous."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.backup import armour
from appliance.cli import configure, settings_tree, table
from appliance.cli.command import Action, Mode, Tree
from appliance.cli.config_lines import config_lines
from appliance.cli.grammar import GrammarError, Node, match
from appliance.config import paths
from appliance.configd import api, facts
from appliance.features import FEATURES
from sentry_runtime.control import Explanation
from tests.unit.appliance.cli.desk import SITE

NOT_FOR_PEOPLE = {
    api.Login: "the portal's",
    api.LoginCertificate: "the portal's",
    api.PresentCertificate: "the TLS proxy's",
    api.WithdrawCertificate: "the TLS proxy's",
    api.ReplaceConfig: "automation's: a whole site configuration",
    api.LookAtHealth: "the alert service's",
    api.Reauthenticate: "the portal's, whose sessions have no `enable`",
    api.ReauthenticateCertificate: "the same, for those without a password",
    api.CompareRevisions: "the portal's; the command line shows what a rollback changes",
    api.SearchDevices: "the portal's; the command line has `show sentry devices` and its filters",
    api.FollowLog: "the portal's; a terminal has `show log`",
    api.LoginToken: "the portal's, for a request of the REST API",
    api.ReadConfig: "of the REST API: the configuration with its digest",
    api.MergeConfig: "of the REST API: a part of a site configuration",
    api.ReadMetrics: "a monitoring system's",
    api.ReadReport: "the portal's and REST's: a checklist is a file; the command line has `show stig open`",
    api.UploadSoftware: "the portal's and the REST API's: no file is brought to the command line",
}
BY_THE_SHELL = {api.OpenSession, api.Touch, api.CloseSession}
HIDDEN_TOPICS = {"revisions"}  # `show revisions` asks ListRevisions, which has the numbers as numbers
DEPTH = 7  # words below the root; the deepest setting, a backend's tls_versions, needs six


A_TOKEN = api.TokenFacts(
    name="x",
    role="auditor",
    scopes=("read",),
    networks=(),
    made_by="a",
    made="",
    expires="",
    last_use="",
    last_source="",
)
NOTHING_EXPLAINED = Explanation(
    device_id="x",
    principal="x",
    action="ask",
    reasons=(),
    softened=(),
    decided_by="unknown",
    rule="",
    answer="",
    steps=(),
    notes=(),
)


class Recorder:
    """A shell that only notes which verbs are sent, and answers as configd would."""

    interactive = False
    interface = "mgmt0"
    idle_seconds = 600
    mode = Mode.EXEC
    page_lines = 0

    def __init__(self) -> None:
        self.sent: list[tuple[type[Any], dict[str, Any]]] = []
        self.terminal = self
        self.lines: list[str] = []
        self.session = api.Session(handle="h", user="a", role="administrator", privileged=True, idle_seconds=600)

    def call(self, verb: type[Any], result: Any, **fields: Any) -> Any:
        verb(session="h", **fields)  # the fields are the verb's
        self.sent.append((verb, fields))
        if verb is api.GetConfig and fields["path"] == ("interfaces",):
            routes = [{"to": "192.0.2.1/32", "via": "192.0.2.1"}]
            return {"mgmt0": {"addresses": ["192.0.2.2/24"], "routes": routes}}
        answers: dict[Any, Any] = {
            api.Table: api.Table(title="", columns=(), rows=()),
            api.Session: self.session,
            api.Shown: api.Text(title="", lines=()),
            api.Text: api.Text(title="", lines=()),
            api.Facts: api.Facts(title="", facts=()),
            api.Committed: api.Committed(changed=False, revision=1),
            Explanation: NOTHING_EXPLAINED,
            api.Fact: api.Fact(fact="x", listed=(), command="", status=0, output="", errors=""),
            api.NewToken: api.NewToken(token="sentry_x", facts=A_TOKEN),
            tuple[api.TokenFacts, ...]: (A_TOKEN,),
            api.Download: api.Download(name="x", kind="bundle", when="", until="", size=0),
            api.Piece: api.Piece(name="x", size=0, offset=0, content="", last=True),
            api.Backup: api.Backup(host="", when="", product="", backup=""),
            api.Software: api.Software(image=False),
        }
        return answers.get(result, {} if verb is api.GetConfig else ())

    def ask(self, _question: str) -> str:
        return self.lines.pop(0) if self.lines else "."

    def ask_secret(self, _question: str) -> str:
        return "secret"

    def confirm(self, _question: str) -> bool:
        return True

    def renew(self, session: api.Session) -> None:
        self.session = session

    def glance(self, _path: tuple[str, ...]) -> Any:
        return None


def grammar(mode: Mode) -> Tree:
    return table.tree(mode, Recorder())  # type: ignore[arg-type]


def walk(nodes: Tree, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Node[Action]]]:
    for node in nodes:
        text = "0" if node.shown == "<NUMBER>" else "x" if node.argument else node.word
        yield (*above, text), node
        if len(above) < DEPTH:
            yield from walk(tuple(node.children(text)), (*above, text))


@pytest.mark.parametrize("mode", list(Mode))
def test_every_word_and_argument_of_every_mode_has_help(mode: Mode) -> None:
    seen = list(walk(grammar(mode)))
    assert len(seen) > 40
    assert [path for path, node in seen if len(node.help) < 4] == []


@pytest.mark.parametrize("mode", list(Mode))
def test_no_two_words_of_one_place_are_the_same(mode: Mode) -> None:
    def places(nodes: Tree, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Tree]]:
        yield above, nodes
        for path, node in walk(nodes):
            yield path, tuple(node.children(path[-1])) if len(path) < DEPTH else ()

    for path, nodes in places(grammar(mode)):
        words = [node.shown.lower() for node in nodes]
        assert sorted(set(words)) == sorted(words), path
        assert sum(node.argument is not None for node in nodes) <= 1, path


@pytest.mark.parametrize("command", table.COMMANDS, ids=lambda command: command.syntax)
def test_every_command_is_reached_by_its_own_words(command: Any) -> None:
    line = command.syntax
    for name, value in (
        ("<minutes>", "5"),
        ("<lines>", "0"),
        ("<revision>", "1"),
        ("<days>", "5"),
        ("<port>", "1"),
        ("<seconds>", "5"),
    ):
        line = line.replace(name, value)
    words = [part.strip("<>").partition(":")[2].split("|")[0] or "x" if "<" in part else part for part in line.split()]
    for mode in command.modes:
        if "<secret>" in command.syntax:
            with pytest.raises(GrammarError, match="A secret is never typed"):
                match(grammar(mode), " ".join(words))
        else:
            assert match(grammar(mode), " ".join(words))[0].action is command.action


def test_every_verb_a_person_needs_is_reached_from_some_command() -> None:
    recorder = Recorder()
    for mode in Mode:
        for path, node in list(walk(table.tree(mode, recorder))):  # type: ignore[arg-type]
            names = (
                "host",
                "user",
                "id",
                "comment",
                "address",
                "NAME",
                "NUMBER",
                "policy",
                "name",
                "network",
                "via",
                "fact",
            )
            values = dict.fromkeys(names, "192.0.2.1")
            values |= {"next": "255.255.255.255", "interface": "mgmt0", "vlan": "1", "time": "now", "command": "Sync"}
            values |= {"role": "operator", "token": "x", "scopes": "read", "days": "5", "networks": "192.0.2.0/24"}
            values |= {"finding": "flag", "cause": "policy", "backup": "x", "download": "x"}
            values |= {"protocol": "any", "port": "1", "seconds": "5"}
            values |= {"minutes": "5", "lines": "0", "revision": "1", "service": "portal", "value": "1"}
            values |= {"action": path[1] if path[0] == "device" and len(path) > 1 else "stop"}
            recorder.lines = [armour.BEGIN, armour.END] if path[-2:] == ("backup", "restore") else []
            if node.action is not None and path[0] not in ("exit", "logout", "setup") and path[:2] != ("do", "setup"):
                node.action(recorder, values)  # type: ignore[arg-type]
    verbs = set(get_args(api.Verb))
    assert len(verbs) > 20
    assert verbs - {verb for verb, _fields in recorder.sent} - BY_THE_SHELL == set(NOT_FOR_PEOPLE)


def test_every_topic_of_configd_is_shown_by_some_command_and_no_other_is_asked() -> None:
    recorder = Recorder()
    for _path, node in walk(table.commands(Mode.PRIVILEGED)):
        if _path[0] == "show" and node.action is not None:
            node.action(recorder, {"id": "x", "user": "x"})  # type: ignore[arg-type]
    asked = {fields["topic"] for verb, fields in recorder.sent if verb is api.Show}
    assert asked == set(facts.TOPICS) - HIDDEN_TOPICS


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_every_feature_is_a_word_of_config_mode_to_set_to_remove_and_to_show(feature: Any) -> None:
    words = {node.word: node for node in grammar(Mode.CONFIG)}
    assert feature.name in words
    for way in ("no", "show"):
        assert feature.name in {node.word for node in words[way].children("")}


def test_the_lines_of_a_configuration_make_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """`show running-config` can be pasted into an empty candidate."""
    schema = settings_tree.schema()
    wanted = schema.fill(
        {**SITE, "dns": {"static_hosts": {"mail.example.test": "192.0.2.10"}, "search": ["a.test", "b.test"]}}
    )
    wanted["interfaces"]["mgmt0"]["routes"] = [
        {"to": "198.51.100.0/24", "via": "192.0.2.1"},
        {"to": "203.0.113.0/24", "via": "192.0.2.1"},
    ]
    made: dict[str, Any] = {}
    lines = list(config_lines(wanted))
    assert len(lines) > 50

    class Maker(Recorder):
        def call(self, verb: type[Any], result: Any, **fields: Any) -> Any:
            nonlocal made
            made = schema.fill(paths.put(schema, made, fields["path"], fields["value"]))

    def current(_shell: object, path: tuple[str, ...]) -> Any:
        try:
            return paths.get(made, path)
        except paths.PathError:
            return None

    maker: Any = Maker()
    monkeypatch.setattr(configure, "current", current)
    for line in lines:
        found = match(table.tree(Mode.CONFIG, maker), line)[0]
        found.action(maker, found.values)
    assert schema.fill(made) == wanted


@given(
    st.recursive(
        st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3), max_leaves=4
    )
)
def test_any_value_is_written_as_words_without_line_ends(value: Any) -> None:
    for line in config_lines({"a": value}):
        assert "\n" not in line
