"""What a session may do by its role, by verb; and what the portal's may not."""

from typing import Any, get_args

import pytest

from appliance.configd import api, facts, roles
from appliance.configd.gate import SESSIONLESS
from appliance.configd.sessions import Manner
from tests.unit.appliance.configd.people import privileged, refusal
from tests.unit.appliance.workbench import ALBERT, OLGA, Daemon

SESSION_VERBS = [verb for verb in get_args(api.Verb) if verb not in SESSIONLESS]
READERS = {
    api.CompareRevisions,
    api.SearchDevices,
    api.ReadSoftware,
    api.Enable,
    api.Disable,
    api.Touch,
    api.CloseSession,
    api.GetConfig,
    api.ReadConfig,
    api.ReadMetrics,
    api.ListRevisions,
    api.Show,
    api.Explain,
    api.SetOwnPassword,
}
OPERATORS = READERS | {
    api.ControlService,
    api.Maintain,
    api.PurgeRevocation,
    api.PersistDevices,
    api.CheckIn,
    api.DeviceAction,
    api.DevicePolicy,
    api.FlagDevice,
    api.ClearRedirects,
    api.SendTestAlert,
    api.Ping,
    api.Lookup,
    api.Trace,
    api.ClearNeighbours,
    api.FindDevice,
}
AUDITED = {api.ReadFact, api.StartScan, api.ReadReport}
"""An assessor's: of auditors and administrators, and of no operator."""
UNPRIVILEGED = {
    api.Enable,
    api.Disable,
    api.Touch,
    api.CloseSession,
    api.Show,
    api.Ping,
    api.Lookup,
    api.Explain,
    api.Trace,
    api.SearchDevices,
    api.ReadSoftware,
    api.SetOwnPassword,
    *AUDITED,
}
THE_PORTALS: set[type] = {api.Reauthenticate, api.ReauthenticateCertificate, api.FollowLog}


def test_every_verb_of_a_session_is_in_the_table_and_nothing_else_is() -> None:
    assert set(roles.RULES) == set(SESSION_VERBS)
    assert len(SESSION_VERBS) == 68


def test_every_verb_is_implemented(daemon: Daemon) -> None:
    assert set(daemon.actions.table) | set(daemon.gate._own) | set(daemon.gate._again) == set(SESSION_VERBS)


@pytest.mark.parametrize("verb", SESSION_VERBS, ids=lambda verb: verb.__struct_config__.tag)
def test_who_may_use_a_verb(verb: type) -> None:
    allowed = {
        (role, privileged)
        for role in roles.EVERYBODY
        for privileged in (True, False)
        if roles.refusal(verb, roles.Standing(role=role, privileged=privileged)) is None
    }
    may = (
        {"administrator"} | ({"operator"} if verb in OPERATORS else set()) | ({"auditor"} if verb in READERS else set())
    )
    if verb in AUDITED:
        may = {"administrator", "auditor"}
    if verb in THE_PORTALS | {api.LookAtHealth}:  # and the alert service's
        may = set()
    how = {True, False} if verb in UNPRIVILEGED else {True}
    assert allowed == {(role, privileged) for role in may for privileged in how}


@pytest.mark.parametrize("manner", ["cli", "portal"])
def test_whose_password_is_too_old_sets_a_new_one_and_does_nothing_else(manner: Manner) -> None:
    standing = roles.Standing(
        role="administrator", manner=manner, privileged=True, reauthenticated_seconds=0.0, password_ended=True
    )
    open_to = {verb for verb in SESSION_VERBS if roles.refusal(verb, standing) is None}
    portals: set[type] = {api.Reauthenticate, api.ReauthenticateCertificate} if manner == "portal" else set()
    assert open_to == {api.SetOwnPassword, api.Touch, api.CloseSession} | portals
    refused = roles.refusal(api.Commit, standing)
    assert refused is not None
    assert "older than it may be" in refused.message


def test_a_verb_that_is_in_no_table_is_refused() -> None:
    refused = roles.refusal(object, roles.Standing(role="administrator", privileged=True))
    assert refused is not None
    assert refused.kind == "permission"


NOT_PORTAL = {
    api.Enable,
    api.Disable,
    api.ReplaceConfig,
    api.SetClock,
    api.LookAtHealth,
    api.ReadConfig,
    api.MergeConfig,
    api.ReadMetrics,
    api.ExportBackup,
    api.RestoreBackup,
    api.ReadFact,
}
RISKY = {
    api.SetPassword,
    api.SetOwnPassword,
    api.SetEnableSecret,
    api.UploadCertificate,
    api.UploadPkcs12,
    api.RenewCertificate,
    api.EnrolSentry,
    api.UpdateSoftware,
    api.RollBackSoftware,
    api.RevokeToken,
    api.Power,
}
"""What the portal does only with a password that was given a moment ago, whatever it is about."""


def served(**standing: Any) -> set[type]:
    where = roles.Standing(manner="portal", **standing)
    return {verb for verb in SESSION_VERBS if roles.refusal(verb, where) is None}


def test_at_the_portal_a_role_is_enough_for_what_is_not_risky() -> None:
    """Its sessions have no `enable`; and nothing that none of its pages asks for."""
    readers, operators = READERS | THE_PORTALS | AUDITED, OPERATORS | THE_PORTALS
    assert served(role="auditor") == readers - NOT_PORTAL - RISKY
    assert served(role="operator") == operators - NOT_PORTAL - RISKY
    assert served(role="administrator") == set(SESSION_VERBS) - NOT_PORTAL - RISKY


@pytest.mark.parametrize(("seconds", "fresh"), [(None, False), (0.0, True), (299.0, True), (300.0, False)])
def test_what_is_risky_asks_for_the_password_again(seconds: float | None, *, fresh: bool) -> None:
    """`enable` of another session is no substitute."""
    standing: dict[str, Any] = {"role": "administrator", "reauthenticated_seconds": seconds, "privileged": True}
    assert (served(**standing) >= RISKY) is fresh
    where = roles.Standing(manner="portal", **standing)
    for verb, about in roles.RISKY:
        refused = roles.refusal(verb, where, about=about)
        assert (refused is None) is fresh
        assert refused is None or refused.kind == "privilege"
    assert roles.refusal(api.Commit, where) is None
    assert roles.refusal(api.DeviceAction, where, about="block") is None


def test_what_a_session_does_one_at_a_time_is_what_changes_something(daemon: Daemon) -> None:
    looks = {api.GetConfig, api.DiffConfig, api.ListRevisions, api.CompareRevisions, api.Show, api.Touch}
    assert not looks & roles.EDITS
    acts = {api.DeviceAction, api.ControlService, api.Maintain, api.StartCapture}
    assert {verb for verb, _about in roles.RISKY} - acts <= roles.EDITS


def test_an_operator_with_privilege_still_cannot_edit(daemon: Daemon) -> None:
    peer, handle = privileged(daemon, OLGA)
    refused = refusal(daemon.say, peer, api.SetConfig(session=handle, path=("name",), value="evil"))
    assert (refused.kind, refused.message) == (
        "permission",
        "the role operator may not do this; allowed: administrator",
    )


def test_who_is_here_is_told_to_the_privileged_only(daemon: Daemon) -> None:
    peer, session = daemon.open(ALBERT)
    assert refusal(daemon.say, peer, api.Show(session=session.handle, topic="sessions")).kind == "privilege"


@pytest.mark.parametrize("role", sorted(roles.EVERYBODY))
def test_which_servers_elsewhere_answer_is_told_without_enable(role: api.Role) -> None:
    """They are all of one kind, the directory's too."""
    without = roles.Standing(role=role)
    for topic in (
        "uem",
        "backends",
        "connectivity",
        "syslog",
        "ntp",
        "backup-destinations",
        "alerts-delivery",
        "directory",
    ):
        assert topic in facts.TOPICS
        assert roles.refusal(api.Show, without, about=topic) is None, topic
