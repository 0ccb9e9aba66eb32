"""The best match among a Cloud's candidates, as a table, and what may never come of it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.devices.record import Reason, State, Wipe, WipeKind
from sentry_runtime.uem.api import Contact, Decision
from sentry_runtime.uem.cloud_api import Candidates, CloudSettings, Unidentified
from sentry_runtime.uem.match import Criterion, best, checked

ANNA = "anna@lab.test"
CONTACT = Contact(device_id="PHONE1", principal=ANNA, device_type="iPhone", seen=5)
STRICT = CloudSettings(fail_mode="block", allow_unmanaged=False, licence="platinum")
OPEN = msgspec.structs.replace(STRICT, allow_unmanaged=True)
COMPROMISED = (Reason.COMPROMISED,)


def device(state: State = State.ALLOWED, *reasons: Reason, **fields: Any) -> Decision:
    """A candidate: Anna's PHONE1 unless said otherwise."""
    names = {"device_id": "PHONE1", "principal": ANNA, "version": 3, "registered": True, **fields}
    return Decision(state=state, reasons=reasons, **names)


def unknown(state: State = State.ALLOWED, *reasons: Reason, **fields: Any) -> Unidentified:
    """One of Anna's without an ActiveSync id."""
    return Unidentified(**{"principal": ANNA, "state": state, "reasons": reasons, **fields})


def of(*found: Decision | Unidentified, settings: CloudSettings = STRICT) -> Candidates:
    """The Cloud's answer."""
    known = [one for one in found if isinstance(one, Decision)]
    return Candidates(
        version=9,
        registered=tuple(one for one in known if one.registered),
        unregistered=tuple(one for one in known if not one.registered),
        unidentified=tuple(one for one in found if isinstance(one, Unidentified)),
        settings=settings,
    )


WIPED = Wipe(kind=WipeKind.DEVICE, order=2)
TABLE = {
    "nothing": (of(), Criterion.NONE, State.BLOCKED, (Reason.UNREGISTERED,)),
    "nothing, and unmanaged devices pass": (of(settings=OPEN), Criterion.NONE, State.ALLOWED, ()),
    "the device": (of(device()), Criterion.ACTIVESYNC_ID, State.ALLOWED, ()),
    "the device, not in compliance": (
        of(device(State.BLOCKED, Reason.OS_VERSION), settings=OPEN),
        *(Criterion.ACTIVESYNC_ID, State.BLOCKED, (Reason.OS_VERSION,)),
    ),
    "allowed on another Sentry": (of(device(registered=False)), Criterion.ACTIVESYNC_ID, State.ALLOWED, ()),
    "to be wiped": (of(device(State.WIPE_PENDING, wipe=WIPED)), Criterion.ACTIVESYNC_ID, State.WIPE_PENDING, ()),
    "the id before the user": (
        of(unknown(), device(State.BLOCKED, Reason.POLICY)),
        *(Criterion.ACTIVESYNC_ID, State.BLOCKED, (Reason.POLICY,)),
    ),
    "the user": (of(unknown()), Criterion.USER_ID, State.ALLOWED, ()),
    "the user, of the same type": (of(unknown(device_type="IPHONE")), Criterion.USER_ID, State.ALLOWED, ()),
    "the user, not in compliance": (
        of(unknown(State.BLOCKED, Reason.COMPROMISED)),
        *(Criterion.USER_ID, State.BLOCKED, COMPROMISED),
    ),
    "the user, of another type": (
        of(unknown(device_type="Android")),
        *(Criterion.NONE, State.BLOCKED, (Reason.UNREGISTERED,)),
    ),
    "two devices of the user": (of(unknown(), unknown()), Criterion.NONE, State.BLOCKED, (Reason.UNREGISTERED,)),
    "another user": (
        of(unknown(principal="bob@lab.test")),
        *(Criterion.NONE, State.BLOCKED, (Reason.UNREGISTERED,)),
    ),
    "the id of another user": (
        of(device(principal="bob@lab.test")),
        *(Criterion.NONE, State.BLOCKED, (Reason.UNREGISTERED,)),
    ),
    "another spelling that may pass grants nothing": (
        of(device(device_id="50484F4E4531")),
        *(Criterion.NONE, State.BLOCKED, (Reason.UNREGISTERED,)),
    ),
    "another spelling that is blocked restricts": (
        of(device(), device(State.BLOCKED, Reason.COMPROMISED, device_id="50484F4E4531")),
        *(Criterion.ACTIVESYNC_ID, State.BLOCKED, COMPROMISED),
    ),
    "another spelling that is to be wiped restricts": (
        of(unknown(), device(State.WIPE_PENDING, device_id="50484F4E4531", wipe=WIPED)),
        *(Criterion.USER_ID, State.BLOCKED, COMPROMISED),
    ),
    "another spelling that nobody registered does not": (
        of(device(), device(State.BLOCKED, Reason.UNREGISTERED, device_id="50484F4E4531", registered=False)),
        *(Criterion.ACTIVESYNC_ID, State.ALLOWED, ()),
    ),
    "another form of the user that is blocked restricts": (
        of(device(State.BLOCKED, Reason.MANUAL, principal="anna"), settings=OPEN),
        *(Criterion.NONE, State.BLOCKED, (Reason.MANUAL,)),
    ),
}


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.shows("cloud 3")
def test_the_best_match_and_what_follows(name: str) -> None:
    """Row by row."""
    candidates, criterion, state, reasons = TABLE[name]
    match = best(CONTACT, candidates)
    decision = checked(CONTACT, candidates, match)
    assert (match.criterion, decision.state, decision.reasons) == (criterion, state, reasons)
    assert (decision.device_id, decision.principal, decision.version) == ("PHONE1", ANNA, 9)


_DEVICES = st.builds(
    device,
    st.sampled_from([State.ALLOWED, State.BLOCKED]),
    st.sampled_from([Reason.UNREGISTERED, Reason.COMPROMISED]),
    device_id=st.sampled_from(["PHONE1", "50484F4E4531", "OTHER"]),
    principal=st.sampled_from([ANNA, "anna", "bob@lab.test"]),
    registered=st.booleans(),
)


@given(st.lists(_DEVICES | st.builds(unknown, device_type=st.sampled_from(["", "iPhone", "Android"]))))
def test_nothing_but_an_exact_id_or_a_sole_device_of_the_user_lets_in(
    found: list[Decision | Unidentified],
) -> None:
    """Whatever the Cloud lists, where unmanaged devices do not pass."""
    candidates = of(*found)
    decision = checked(CONTACT, candidates, best(CONTACT, candidates))
    if decision.state is State.ALLOWED:
        exact = [
            one for one in found if isinstance(one, Decision) and (one.device_id, one.principal) == ("PHONE1", ANNA)
        ]
        sole = [one for one in found if isinstance(one, Unidentified) and one.device_type in ("", "iPhone")]
        assert any(one.state is State.ALLOWED for one in exact) or (not exact and len(sole) == 1)
