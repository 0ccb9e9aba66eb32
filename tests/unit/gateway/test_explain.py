"""What `Explain` answers, from a real device list and the workers' last signs of life."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime import control, settings
from sentry_runtime.control_server import Refused
from sentry_runtime.devices.enforcement import Enforcement
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State, Wipe, WipeKind, WipeMark
from sentry_runtime.devices.store import Reader, Writer
from sentry_runtime.eas.policy import Policy
from sentry_runtime.gateway.decide import Excess, decide
from sentry_runtime.gateway.explain import explanation
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.judge import Judge
from sentry_runtime.gateway.policies import Policies, SitePolicy
from sentry_runtime.gateway.site import Site
from sentry_runtime.gateway.worker_channel import THROTTLED_TOLD, Life, Paused
from sentry_runtime.metrics import Counters
from tests.unit.gateway.test_site import NOON, gateway, rule

PHONE = DeviceKey("PHONE1", "anna@lab.test")
HEX = DeviceKey(b"PHONE1".hex().upper(), "anna@lab.test")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the device list is."""
    return tmp_path


def put(folder: Path, *records: Record) -> None:
    """Write entries, as another process does."""
    writer = Writer(folder)
    writer.put(records)
    writer.close()


def record(key: DeviceKey, state: State, *reasons: Reason) -> Record:
    """An entry."""
    return Record(key=key, state=state, version=1, reasons=reasons, device_type="iPhone")


class NoLibrary:
    """The UEM has no policies."""

    def policy(self, wanted: bytes) -> Policy | None:
        return None

    def has_policies(self) -> bool:
        return False

    def enforcement(self, key: DeviceKey, *, anew: bool = False) -> None:
        raise AssertionError(f"explained is what the list says, and not what this has: {key}, {anew}")


def judge(*rules: settings.Rule, until: str = "", policy: bool = False) -> Judge:
    """What the gateway goes by at noon."""
    own = SitePolicy(Policy(device_password_enabled=True), bytes(32)) if policy else SitePolicy()
    return Judge(Policies(own, NoLibrary()), Site.of(gateway(*rules, until=until), lambda: NOON))


def ask(
    folder: Path,
    by: Judge,
    lives: tuple[Life, ...] = (),
    device: str = "phone1",
    who: str = "anna@lab.test",
    **more: object,
) -> control.Explanation:
    """Explain what becomes of this device."""
    asked = msgspec.convert({"device_id": device, "principal": who, **more}, control.Explain)
    return explanation(asked, by, lambda: Reader(folder), lives)


def test_the_chain_ends_with_the_verdict_in_the_words_of_the_audit_trail(folder: Path) -> None:
    """Every row down to the one that applies, with what was looked at."""
    put(folder, record(PHONE, State.BLOCKED, Reason.UNREGISTERED, Reason.POLICY))
    said = ask(folder, judge())
    assert (said.action, said.reasons, said.decided_by) == ("block", ("unregistered", "policy"), "blocked")
    assert [(step.row, step.applies) for step in said.steps] == [
        ("no_device", False),
        ("wipe_too_old", False),
        ("wipe_pending", False),
        ("wipe_unverified", False),
        ("wiped", False),
        ("excess", False),
        ("denied_by_rule", False),
        ("unreadable", False),
        ("unknown", False),
        ("allowed", False),
        ("blocked_by_hand", False),
        ("allowed_by_rule", False),
        ("observed", False),
        ("blocked", True),
    ]
    assert said.steps[-1].saw == "blocked, unregistered, policy"
    assert said.answer == "HTTP 200 with the status in the command's own document"
    assert ask(folder, judge(), protocol="12.1").answer == "HTTP 403"


@pytest.mark.parametrize("who", ["anna@lab.test", "ANNA@LAB.TEST", "LAB.TEST\\Anna", " anna@lab.test "])
def test_a_person_is_found_under_every_form_of_the_name(folder: Path, who: str) -> None:
    """The answer says which name was looked for."""
    put(folder, record(PHONE, State.ALLOWED))
    said = ask(folder, judge(), who=who)
    assert (said.action, said.device_id, said.principal) == ("allow", "PHONE1", "anna@lab.test")


def test_an_entry_that_was_perhaps_meant_is_named(folder: Path) -> None:
    """`anna` is not `anna@lab.test`, but may be the same person."""
    put(folder, record(PHONE, State.ALLOWED), record(DeviceKey("PHONE1", "bert"), State.ALLOWED))
    said = ask(folder, judge(), who="anna")
    assert (said.action, said.decided_by) == ("ask", "unknown")
    assert said.notes == ("the device list has this device for anna@lab.test, which may be the same person",)


def test_the_rule_that_decides_is_named(folder: Path) -> None:
    """A denial, and a leave with what it softens; a network counts where the source is given."""
    put(folder, record(PHONE, State.BLOCKED, Reason.UNREGISTERED))
    rules = rule("branch", "allow", network="192.0.2.0/24"), rule("ipads", "deny", device_type="iPad")
    denied = ask(folder, judge(*rules), device_type="iPad")
    assert (denied.action, denied.reasons, denied.rule) == ("block", ("local_rule",), "ipads")
    let = ask(folder, judge(*rules), source="192.0.2.9")
    assert (let.action, let.softened, let.rule, let.decided_by) == (
        "allow",
        ("unregistered",),
        "branch",
        "allowed_by_rule",
    )
    unsaid = ask(folder, judge(*rules))
    assert (unsaid.action, unsaid.rule) == ("block", "")
    assert unsaid.notes == (
        "no device type was given: taken from the device list, iPhone",
        "no source was given: rules on networks do not match",
    )


def test_observing_is_seen(folder: Path) -> None:
    """And what it softens."""
    put(folder, record(PHONE, State.BLOCKED, Reason.COMPROMISED))
    said = ask(folder, judge(until="2026-01-02T12:01Z"))
    assert (said.action, said.softened, said.decided_by) == ("allow", ("compromised",), "observed")


def wiping(kind: WipeKind, *marks: WipeMark) -> Record:
    """An entry with an order to wipe, of which so much has come."""
    wipe = Wipe(kind=kind, order=1, marks=marks)
    return Record(key=PHONE, state=wipe.state, version=1, wipe=wipe)


@pytest.mark.parametrize(
    ("entry", "protocol", "command", "row", "action", "answer"),
    [
        (wiping(WipeKind.DEVICE), "14.1", "Sync", "wipe_pending", "wipe", "HTTP 449 with the status in"),
        (wiping(WipeKind.DEVICE), "2.5", "Sync", "wipe_pending", "wipe", "HTTP 449"),
        (
            wiping(WipeKind.DEVICE),
            "14.1",
            "Provision",
            "wipe_pending",
            "wipe",
            "the gateway hands out the order to wipe",
        ),
        (wiping(WipeKind.DEVICE, WipeMark.UNVERIFIED), "14.1", "Sync", "wipe_unverified", "wipe", "HTTP 449 with"),
        (wiping(WipeKind.DEVICE, WipeMark.VERIFIED), "12.1", "Provision", "wiped", "block", "HTTP 403"),
        (wiping(WipeKind.ACCOUNT), "16.1", "Sync", "wipe_pending", "wipe", "HTTP 449 with"),
        (wiping(WipeKind.ACCOUNT), "12.1", "Sync", "wipe_too_old", "wipe", "HTTP 403"),
        (wiping(WipeKind.ACCOUNT), "16.0", "Provision", "wipe_too_old", "wipe", "HTTP 200 with the status in"),
    ],
)
def test_a_wipe_is_seen_above_denials_and_throttling(
    folder: Path, entry: Record, protocol: str, command: str, row: str, action: str, answer: str
) -> None:
    """With what such a request gets; of a wipe of the account the version that was explained for is named."""
    put(folder, entry)
    paused = Paused(device=PHONE, excess=Excess.SYNC_LOOP, seconds=17)
    busy = Life(state="running", counters=Counters(), throttled=(paused,))
    said = ask(folder, judge(rule("mine", "deny", user=PHONE.principal)), (busy,), protocol=protocol, command=command)
    assert (said.decided_by, said.action, said.rule) == (row, action, "")
    assert said.answer.startswith(answer)
    assert any(f"explained for version {protocol}" in note for note in said.notes) == (row == "wipe_too_old")


def test_what_the_workers_throttle_is_seen(folder: Path) -> None:
    """Also for the other form of the query, since that is the same device."""
    put(folder, record(PHONE, State.ALLOWED), record(HEX, State.ALLOWED))
    calm = Life(state="running", counters=Counters())
    busy = Life(
        state="running",
        counters=Counters(),
        throttled=(Paused(device=PHONE, excess=Excess.SYNC_LOOP, seconds=17),),
    )
    for device in ("PHONE1", HEX.device_id):
        said = ask(folder, judge(), (calm, busy), device=device)
        assert (said.action, said.reasons, said.decided_by) == ("throttle", ("sync_loop",), "excess")
        assert "1 of 2 workers throttle this device, the longest for 17 s more" in said.notes
    assert ask(folder, judge(), (calm, busy), who="bert").action == "ask"


def test_that_the_workers_do_not_tell_of_all_is_said(folder: Path) -> None:
    """The list in a sign of life is bounded."""
    put(folder, record(PHONE, State.ALLOWED))
    many = tuple(
        Paused(device=DeviceKey(f"D{number}", "x"), excess=Excess.SYNC_LOOP, seconds=1)
        for number in range(THROTTLED_TOLD)
    )
    said = ask(folder, judge(), (Life(state="running", counters=Counters(), throttled=many),))
    assert said.action == "allow"
    assert any("this one may be among them" in note for note in said.notes)


def test_the_policy_key_counts_where_it_is_given(folder: Path) -> None:
    """Else the device is taken to have the right one, and that is said."""
    put(folder, record(PHONE, State.ALLOWED))
    by = judge(policy=True)
    unsaid, wrong = ask(folder, by), ask(folder, by, policy_key=17)
    assert (unsaid.action, any("policy key" in note for note in unsaid.notes)) == ("allow", True)
    assert (wrong.action, wrong.reasons) == ("provision", ("policy_key_wrong",))
    assert wrong.answer == "HTTP 449 with the status in the command's own document"
    asked = ask(folder, by, command="Provision")
    assert (asked.action, asked.answer) == ("provision", "the gateway hands out its policy")


@pytest.mark.parametrize(
    ("held", "action", "words"),
    [
        (Enforcement(final=7, digest=b"d" * 32), "allow", "has given its final key"),
        (Enforcement(temporary=7, digest=b"d" * 32), "provision", "has yet to give its final key"),
        (Enforcement(), "provision", "has yet to give its final key"),
    ],
)
def test_what_a_backend_enforces_is_seen(folder: Path, held: Enforcement, action: str, words: str) -> None:
    """As a request would meet it: with the right key, and with the one that our policy alone would have."""
    put(folder, record(PHONE, State.ALLOWED))
    by = judge(policy=True)
    own = by.policies.keys(
        Claim(PHONE, (), "iPhone", PHONE.principal, "Sync", "14.1", None), record(PHONE, State.ALLOWED)
    )
    assert ask(folder, by, policy_key=own.final).action == "allow"
    writer = Writer(folder)
    writer.write(enforced={PHONE: held})
    writer.close()
    said, alone = ask(folder, by), ask(folder, by, policy_key=own.final)
    assert said.action == action
    assert any(f"enforces a policy of its own on this device, and {words}" in note for note in said.notes)
    assert (alone.action, alone.reasons) == ("provision", ("policy_key_wrong",))


def test_a_list_that_is_not_there_is_said(folder: Path) -> None:
    """As it would be for a request."""
    said = ask(folder / "nowhere", judge())
    assert (said.action, said.steps[-1].saw) == ("ask", "the list cannot be read")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"device": "a b"}, "device id"),
        ({"device": ""}, "device id"),
        ({"device": "A" * 65}, "device id"),
        ({"who": ""}, "a user is"),
        ({"who": "a b"}, "a user is"),
        ({"command": "Reboot"}, "found the command 'Reboot'"),
        ({"protocol": "15.0"}, "found the version '15.0'"),
        ({"source": "gateway.lab.test"}, "found the source"),
    ],
)
def test_what_no_request_can_say_is_refused(folder: Path, fields: dict[str, Any], words: str) -> None:
    """With what is allowed."""
    with pytest.raises(Refused, match=words):
        ask(folder, judge(), **fields)


reasons = st.lists(st.sampled_from(Reason), max_size=3).map(tuple)
marks = st.lists(st.sampled_from(WipeMark), max_size=3, unique=True)
entries = st.builds(lambda state, why: record(PHONE, state, *why), st.sampled_from(State), reasons) | st.builds(
    lambda kind, come: wiping(kind, *come), st.sampled_from(WipeKind), marks
)
versions = st.sampled_from(["14.1", "16.1"])


@given(entries, st.sampled_from(["allow", "deny", ""]), st.booleans(), st.sampled_from(["Sync", "Provision"]), versions)
def test_the_explanation_is_what_a_request_gets(
    tmp_path_factory: pytest.TempPathFactory,
    entry: Record,
    action: str,
    observing: bool,  # noqa: FBT001 - drawn
    command: str,
    protocol: str,
) -> None:
    """The same judge, the same record: the same verdict, row and rule as on a request's way."""
    folder = tmp_path_factory.mktemp("list")
    put(folder, entry)
    rules = (rule("mine", action, user="anna@lab.test"),) if action else ()
    by = judge(*rules, until="2026-01-02T12:01Z" if observing else "")
    said = ask(folder, by, command=command, protocol=protocol, source="192.0.2.9", device_type="iPhone")
    claim = Claim(PHONE, (), "iPhone", PHONE.principal, command, protocol, None)
    verdict = decide(by.case(claim, "192.0.2.9", entry))
    assert (said.action, said.reasons, said.softened) == (verdict.action, verdict.reasons, verdict.softened)
    assert (said.decided_by, said.rule) == (verdict.row, verdict.rule)
