"""API tokens at configd's gate: who gives them out, what each is good for, and when it is good for nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from appliance.configd import api, roles, scopes
from appliance.configd.client import Refused
from appliance.configd.gate import SESSIONLESS
from appliance.configd.sessions import Peer
from appliance.configd.tokens import DAY_SECONDS, MOST_DAYS, TOKENS
from tests.unit.appliance.configd.people import ENABLE, TREE, privileged
from tests.unit.appliance.workbench import ALICE, OLGA, PASSWORDS, PORTAL, ROOT, Daemon

SOURCE = "192.0.2.7"
EXPLICIT = scopes.EXPLICIT
SCOPES: tuple[api.Scope, ...] = get_args(api.Scope)
HANDLES = [verb for verb in get_args(api.Verb) if verb not in SESSIONLESS]


def give(daemon: Daemon, name: str = "fleet", role: api.Role = "administrator", **more: Any) -> str:
    """A token that alice gives out in the CLI; its text."""
    peer, handle = privileged(daemon)
    verb = api.CreateToken(session=handle, name=name, role=role, **more)
    made = daemon.say(peer, verb, api.NewToken)
    daemon.say(peer, api.CloseSession(session=handle))
    return str(made.token)


def portal(connection: int = 50) -> Peer:
    return Peer(uid=PORTAL, pid=1, connection=connection)


def enter(daemon: Daemon, token: str, connection: int = 50, source: str = SOURCE, **more: Any) -> tuple[Peer, str]:
    """A session of the token, over a connection of the portal's."""
    peer = portal(connection)
    return peer, daemon.say(peer, api.LoginToken(token=token, source=source, **more), api.Session).handle


def kind(call: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(Refused) as caught:
        call(*arguments)
    return caught.value.refusal.kind


def test_a_token_opens_a_session_under_its_own_name_and_each_use_is_audited(daemon: Daemon) -> None:
    token = give(daemon)
    peer, handle = enter(daemon, token)
    daemon.say(peer, api.ReadConfig(session=handle))
    seen = [(one.event, one.user, one.role, one.source) for one in daemon.ledger.entries[-2:]]
    assert seen == [
        ("session.token", "token:fleet", "administrator", f"{SOURCE} pid 1"),
        ("config.read", "token:fleet", "administrator", f"{SOURCE} pid 1"),
    ]


def test_the_token_itself_is_shown_once_and_is_nowhere_on_the_disk_nor_in_the_trail(daemon: Daemon) -> None:
    token = give(daemon)
    enter(daemon, token)
    places = [place for place in daemon.folder.rglob("*") if place.is_file()]
    assert any(place.name == "tokens.json" and place.stat().st_mode & 0o777 == 0o600 for place in places)
    assert not any(token.encode() in place.read_bytes() for place in places)
    assert not any(token in str(entry) for entry in daemon.ledger.entries)
    peer, handle = privileged(daemon)
    (listed,) = daemon.say(peer, api.ListTokens(session=handle), tuple[api.TokenFacts, ...])
    assert token not in str(listed)
    assert (listed.name, listed.made_by, listed.last_source) == ("fleet", "alice", SOURCE)


def test_it_is_good_after_a_restart_and_its_last_use_is_known(daemon: Daemon) -> None:
    token = give(daemon)
    enter(daemon, token)
    daemon.restart()
    enter(daemon, token)
    peer, handle = privileged(daemon)
    (listed,) = daemon.say(peer, api.ListTokens(session=handle), tuple[api.TokenFacts, ...])
    assert listed.last_use == "2027-01-15T08:00:00Z"


def test_a_use_that_cannot_be_written_down_keeps_nobody_out(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk is mended over REST, too."""
    token = give(daemon)

    def full(_place: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("appliance.configd.tokens.put", full)
    peer, handle = enter(daemon, token)
    assert daemon.say(peer, api.ReadConfig(session=handle), api.Configuration).revision == 1
    assert "No space left" in caplog.text
    with pytest.raises(Refused, match="No space left"):
        give(daemon, "more")


def test_only_the_portal_may_show_one(daemon: Daemon) -> None:
    token = give(daemon)
    for uid in (ROOT, ALICE, OLGA):
        peer = Peer(uid=uid, pid=1, connection=9)
        assert kind(daemon.say, peer, api.LoginToken(token=token, source=SOURCE)) == "permission"


def test_the_session_is_of_its_connection_alone_and_ends_with_it(daemon: Daemon) -> None:
    """The handle is nothing to another request, even to the portal's own."""
    _peer, handle = enter(daemon, give(daemon))
    assert kind(daemon.say, portal(51), api.ReadConfig(session=handle)) == "session"
    daemon.gate.disconnected(50)
    assert kind(daemon.say, portal(50), api.ReadConfig(session=handle)) == "session"


def test_an_ended_a_revoked_and_a_strange_token_are_refused_alike(daemon: Daemon) -> None:
    ended, revoked = give(daemon, "ended", days=1), give(daemon, "revoked")
    _peer, open_handle = enter(daemon, revoked)
    peer, handle = privileged(daemon)
    daemon.say(peer, api.RevokeToken(session=handle, name="revoked"))
    assert kind(daemon.say, portal(), api.ReadConfig(session=open_handle)) == "session"  # at once
    daemon.clock.now += DAY_SECONDS
    said = set()
    for number, token in enumerate((ended, revoked, "sentry_" + "A" * 43, "", "x" * 1_000)):
        with pytest.raises(Refused) as caught:
            enter(daemon, token, source=f"192.0.2.{number + 1}")
        said.add((caught.value.refusal.kind, caught.value.refusal.message))
    assert len(said) == 1
    assert next(iter(said))[0] == "authentication"


def test_a_token_is_good_from_its_networks_alone(daemon: Daemon) -> None:
    token = give(daemon, networks=("192.0.2.0/29", "2001:db8::/64"))
    enter(daemon, token, source="192.0.2.7")
    enter(daemon, token, connection=51, source="2001:db8::9")
    for source in ("192.0.2.8", "2001:db8:1::9", "", "somewhere"):
        assert kind(daemon.say, portal(), api.LoginToken(token=token, source=source)) == "authentication"


def test_three_failed_tokens_lock_their_source_and_no_other(daemon: Daemon) -> None:
    token = give(daemon)
    wrong = api.LoginToken(token="sentry_" + "A" * 43, source="2001:db8::1")
    assert [kind(daemon.say, portal(), wrong) for _ in range(4)] == ["authentication"] * 3 + ["locked"]
    neighbour = api.LoginToken(token=token, source="2001:db8::2")  # one network of /64 is one source
    assert kind(daemon.say, portal(), neighbour) == "locked"
    enter(daemon, token)
    locks = [one for one in daemon.ledger.entries if one.event == "token.locked"]
    assert [(one.source, one.result) for one in locks] == [("2001:db8::1", "locked")]
    daemon.ticks.now += 900
    assert daemon.say(portal(52), neighbour, api.Session).user == "token:fleet"


def test_a_token_ends_with_the_account_that_made_it(daemon: Daemon) -> None:
    token = give(daemon)
    daemon.commit({**TREE, "users": {"accounts": {"olga": {"role": "administrator"}}}})
    assert kind(daemon.say, portal(), api.LoginToken(token=token, source=SOURCE)) == "authentication"


def test_a_connection_that_is_kept_outlives_neither_its_request_nor_the_account(daemon: Daemon) -> None:
    """Though its peer goes on asking, as a portal that was taken over would."""
    token = give(daemon)
    peer, handle = enter(daemon, token)
    for _ in range(31):
        daemon.ticks.now += 59
        daemon.say(peer, api.ReadConfig(session=handle))
    daemon.ticks.now += 31
    assert kind(daemon.say, peer, api.ReadConfig(session=handle)) == "session"
    other, open_handle = enter(daemon, token, 51)
    root = Peer(uid=ROOT, pid=1, connection=2)
    session = daemon.say(root, api.OpenSession(), api.Session)
    path = ("users", "accounts")
    daemon.say(root, api.SetConfig(session=session.handle, path=path, value={"olga": {"role": "administrator"}}))
    daemon.say(root, api.Commit(session=session.handle))
    assert kind(daemon.say, other, api.ReadConfig(session=open_handle)) == "session"


def test_a_file_that_cannot_be_read_ends_the_tokens_and_nothing_else(daemon: Daemon) -> None:
    token = give(daemon)
    place = daemon.root / "var/lib/sentry/tokens/tokens.json"
    place.write_text("[{")
    daemon.restart()
    assert kind(daemon.say, portal(), api.LoginToken(token=token, source=SOURCE)) == "authentication"
    peer, handle = privileged(daemon)
    for verb in (api.ListTokens(session=handle), api.CreateToken(session=handle, name="new", role="auditor")):
        with pytest.raises(Refused, match=r"tokens\.json: cannot be read"):
            daemon.say(peer, verb)
    assert place.read_text() == "[{"  # whoever mends it finds it as it was


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "Fleet"}, "lower-case"),
        ({"name": "a:b"}, "lower-case"),
        ({"name": "taken"}, "already"),
        ({"days": 0}, f"1 to {MOST_DAYS}"),
        ({"days": MOST_DAYS + 1}, f"1 to {MOST_DAYS}"),
        ({"networks": ("192.0.2.1/24",)}, "host bits"),
        ({"networks": ("0.0.0.0/0",) * 17}, "at most 16"),
        ({"role": "auditor", "scopes": ("configure",)}, "allowed for the role auditor"),
        ({"role": "operator", "scopes": ("power",)}, "allowed for the role operator"),
    ],
)
def test_what_a_token_may_not_be(daemon: Daemon, fields: dict[str, Any], said: str) -> None:
    give(daemon, "taken")
    with pytest.raises(Refused, match=said):
        give(daemon, **{"name": "other", **fields})


def test_there_is_a_last_token(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    for number in range(TOKENS):
        daemon.say(peer, api.CreateToken(session=handle, name=f"t{number}", role="auditor"))
    assert kind(daemon.say, peer, api.CreateToken(session=handle, name="more", role="auditor")) == "invalid"


# --- scopes ----------------------------------------------------------------------------------------------------------

NEVER = {
    api.Enable, api.Disable, api.Touch, api.CloseSession, api.CreateToken, api.LookAtHealth,
    api.Reauthenticate, api.ReauthenticateCertificate, api.SetOwnPassword, api.CompareRevisions, api.SearchDevices,
    api.ReadFact, api.FollowLog,
}  # fmt: skip
ACCOUNTS: set[type] = {
    api.ExportBackup, api.RestoreBackup,
    api.SetPassword, api.SetEnableSecret, api.UploadCertificate, api.UploadPkcs12, api.RenewCertificate, api.RevokeToken,
}  # fmt: skip
POWER: set[type] = {api.Power, api.SetClock, api.UpdateSoftware, api.RollBackSoftware}


def served(verb: type, *held: api.Scope, about: str = "", enabled: bool = False) -> bool:
    seconds = 0.0 if enabled else float("inf")
    standing = roles.Standing(
        role="administrator", manner="rest", privileged=True, privileged_seconds=seconds, scopes=frozenset(held)
    )
    return roles.refusal(verb, standing, about=about) is None


@pytest.mark.parametrize("verb", HANDLES, ids=lambda verb: verb.__struct_config__.tag)
def test_which_scopes_a_verb_is_served_for(verb: type) -> None:
    """One scope opens it and no other does; what is in no scope is for no token, whatever it holds."""
    if verb in NEVER:
        assert not served(verb, *SCOPES, enabled=True)
        return
    needed = scopes.SCOPE_OF[verb]
    others = [scope for scope in SCOPES if scope != needed]
    explicit: api.Scope | None = "accounts" if verb in ACCOUNTS else "power" if verb in POWER else None
    assert not served(verb, *others, enabled=True)
    assert served(verb, needed) == (explicit is None)
    assert served(verb, needed, enabled=True)
    if explicit:
        assert served(verb, needed, explicit)
        assert not served(verb, needed, *(EXPLICIT - {explicit}))


@pytest.mark.parametrize(
    ("verb", "about", "explicit"),
    [
        (api.Commit, roles.SENSITIVE, "accounts"),
        (api.Rollback, roles.SENSITIVE, "accounts"),
        (api.ControlService, "stop", "power"),
        (api.Maintain, "drain", "power"),
    ],
)
def test_what_some_uses_of_a_verb_need_besides(verb: type, about: str, explicit: api.Scope) -> None:
    needed = scopes.SCOPE_OF[verb]
    assert served(verb, needed)
    assert not served(verb, needed, *(EXPLICIT - {explicit}), about=about)
    assert served(verb, needed, explicit, about=about)
    assert served(verb, needed, about=about, enabled=True)


def test_the_tables_know_every_verb_and_scope() -> None:
    assert set(scopes.SCOPE_OF) | NEVER == set(HANDLES)
    assert {*scopes.SCOPE_OF.values()} | EXPLICIT == set(SCOPES)
    assert scopes.OF_ROLE["administrator"] == set(SCOPES)


def test_without_scopes_named_a_token_has_the_usual_ones(daemon: Daemon) -> None:
    usual = {role: scopes.usual(role) for role in scopes.OF_ROLE}
    assert not EXPLICIT & frozenset().union(*usual.values())
    for role in scopes.OF_ROLE:
        give(daemon, role, role)
    peer, handle = privileged(daemon)
    listed = daemon.say(peer, api.ListTokens(session=handle), tuple[api.TokenFacts, ...])
    assert {one.role: set(one.scopes) for one in listed} == usual


def test_who_gets_in_needs_the_scope_or_the_enable_secret_in_this_very_request(daemon: Daemon) -> None:
    token = give(daemon)
    patch = {"users": {"accounts": {"bob": {"role": "auditor"}}}}

    def attempt(connection: int, **more: Any) -> api.Committed:
        peer, handle = enter(daemon, token, connection, **more)
        daemon.say(peer, api.MergeConfig(session=handle, patch=patch))
        done: api.Committed = daemon.say(peer, api.Commit(session=handle), api.Committed)
        return done

    assert kind(attempt, 60) == "privilege"
    assert attempt(61, enable_secret=ENABLE).changed
    assert kind(lambda: enter(daemon, token, 62, enable_secret="wrong")) == "authentication"
    patch = {"users": {"accounts": {"bob": {"role": "operator"}}}}
    assert kind(attempt, 63) == "privilege"  # the secret was for that request alone


# --- giving out --------------------------------------------------------------------------------------------------------


def test_a_token_gives_out_no_token(daemon: Daemon) -> None:
    peer, handle = enter(daemon, give(daemon, scopes=SCOPES), enable_secret=ENABLE)
    assert kind(daemon.say, peer, api.CreateToken(session=handle, name="more", role="auditor")) == "permission"


def test_over_the_portal_a_password_and_the_enable_secret_give_one_out(daemon: Daemon) -> None:
    def create(handle: str, **more: Any) -> Any:
        return daemon.say(portal(), api.CreateToken(session=handle, name="web", role="auditor", **more), api.NewToken)

    login = api.Login(user="alice", password=PASSWORDS["alice"], source=SOURCE)
    handle = daemon.say(portal(), login, api.Session).handle
    assert kind(create, handle) == "privilege"
    assert kind(lambda: create(handle, enable_secret="wrong")) == "authentication"
    made = create(handle, enable_secret=ENABLE)
    assert enter(daemon, made.token, 70)
    assert made.facts.made_by == "alice"


def test_at_the_portal_the_password_given_again_does_as_well_for_five_minutes(daemon: Daemon) -> None:
    """As for everything else that changes who gets in; taking one back asks for it, too."""
    login = api.Login(user="alice", password=PASSWORDS["alice"], source=SOURCE)
    handle = daemon.say(portal(), login, api.Session).handle
    verbs = [
        api.CreateToken(session=handle, name="web", role="auditor"),
        api.RevokeToken(session=handle, name="web"),
    ]
    assert [kind(daemon.say, portal(), verb) for verb in verbs] == ["privilege"] * 2
    daemon.say(portal(), api.Reauthenticate(session=handle, password=PASSWORDS["alice"]), api.Session)
    token = daemon.say(portal(), verbs[0], api.NewToken).token
    assert enter(daemon, token, 71)
    daemon.ticks.now += 299
    daemon.say(portal(), verbs[1])
    assert kind(lambda: enter(daemon, token, 72)) == "authentication"
    daemon.ticks.now += 1
    assert kind(daemon.say, portal(), verbs[0]) == "privilege"


def test_in_the_command_line_it_needs_a_fresh_enable(daemon: Daemon) -> None:
    peer, handle = privileged(daemon)
    daemon.ticks.now += 301
    assert kind(daemon.say, peer, api.CreateToken(session=handle, name="late", role="auditor")) == "privilege"


# --- editing -----------------------------------------------------------------------------------------------------------


def test_what_a_token_edits_stays_for_its_next_request_and_for_no_other_token(daemon: Daemon) -> None:
    one, other = give(daemon, "one"), give(daemon, "other")
    peer, handle = enter(daemon, one, 80, candidate=True)
    daemon.say(peer, api.SetConfig(session=handle, path=("web", "port"), value=9000))
    daemon.gate.disconnected(80)

    def port(token: str, connection: int, **more: Any) -> Any:
        peer, handle = enter(daemon, token, connection, **more)
        tree = daemon.say(peer, api.GetConfig(session=handle, view="candidate"))
        daemon.gate.disconnected(connection)
        return tree["web"]["port"]

    assert port(one, 81, candidate=True) == 9000
    assert port(one, 82) == 8443
    assert port(other, 83, candidate=True) == 8443
    daemon.ticks.now += 600
    assert port(one, 84, candidate=True) == 8443  # idle as long as a session may be


def test_a_commit_ends_what_was_edited_and_says_whose_it_was(daemon: Daemon) -> None:
    token = give(daemon)
    peer, handle = enter(daemon, token, 80, candidate=True)
    daemon.say(peer, api.SetConfig(session=handle, path=("web", "port"), value=9000))
    daemon.gate.disconnected(80)
    peer, handle = enter(daemon, token, 81, candidate=True)
    daemon.say(peer, api.Commit(session=handle, comment="by REST"))
    daemon.gate.disconnected(81)
    peer, handle = enter(daemon, token, 82, candidate=True)
    assert daemon.say(peer, api.DiffConfig(session=handle)) == []
    newest = daemon.say(peer, api.ListRevisions(session=handle), tuple[api.Revision, ...])[0]
    assert (newest.user, newest.comment) == ("token:fleet", "by REST")


def test_a_digest_that_is_not_the_running_one_is_a_conflict(daemon: Daemon) -> None:
    peer, handle = enter(daemon, give(daemon))
    running = daemon.say(peer, api.ReadConfig(session=handle), api.Configuration)
    assert running.tree["web"]["token"] == "********"
    daemon.say(peer, api.MergeConfig(session=handle, patch={"web": {"port": 9000}}))
    assert kind(daemon.say, peer, api.Commit(session=handle, digest="0" * 64)) == "conflict"
    done = daemon.say(peer, api.Commit(session=handle, digest=running.digest), api.Committed)
    assert [change.path for change in done.changes] == [("web", "port")]
    assert daemon.say(peer, api.ReadConfig(session=handle), api.Configuration).digest != running.digest


def test_a_patch_keeps_secrets_that_are_masked_and_takes_settings_back(daemon: Daemon) -> None:
    peer, handle = enter(daemon, give(daemon))
    daemon.say(peer, api.MergeConfig(session=handle, patch={"web": {"token": "canary-1", "port": 9000}}))
    daemon.say(peer, api.Commit(session=handle))
    patch = {"web": {"token": "********", "port": None, "words": ["a"]}}
    daemon.say(peer, api.MergeConfig(session=handle, patch=patch))
    daemon.say(peer, api.Commit(session=handle))
    web = daemon.running()["web"]
    assert (web["port"], web["words"], daemon.vault.reveal(web["token"])) == (8443, ["a"], "canary-1")
    with pytest.raises(Refused, match="an unknown setting"):
        daemon.say(peer, api.MergeConfig(session=handle, patch={"web": {"prt": 1}}))


def test_a_token_does_not_take_away_the_account_that_made_it_without_a_way_back(daemon: Daemon) -> None:
    peer, handle = enter(daemon, give(daemon), enable_secret=ENABLE)
    others = {"olga": {"role": "administrator"}, "alice": None}
    daemon.say(peer, api.MergeConfig(session=handle, patch={"users": {"accounts": others}}))
    assert kind(daemon.say, peer, api.Commit(session=handle)) == "lockout"
    assert daemon.say(peer, api.Commit(session=handle, confirm_minutes=1), api.Committed).confirm_by


def test_the_file_of_the_tokens_holds_digests_alone(daemon: Daemon) -> None:
    give(daemon)
    (held,) = msgspec.json.decode((daemon.root / "var/lib/sentry/tokens/tokens.json").read_bytes())
    assert set(held) == {
        "name", "digest", "role", "scopes", "networks", "made_by", "made", "expires", "used", "used_from",
    }  # fmt: skip
    assert len(held["digest"]) == 64
