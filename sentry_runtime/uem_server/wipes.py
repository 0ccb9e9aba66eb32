"""The life of a wipe at the UEM: which words are valid when, and what each does to a device's row.

| the device is | wipe | cancel | register, allow, block | remove | acknowledged | other marks |
|---|---|---|---|---|---|---|
| allowed or blocked | to be wiped | no | as said | gone | wiped, if that order was cancelled | - |
| to be wiped | the same order; of another kind: no | what stood before | no | no | wiped | kept |
| wiped | no | no | no | gone | kept | kept |

An administrator who wants something else than a pending wipe takes it back first, so that nobody forgets one by saying
another word. A Sentry that had no link may report late: what the device said holds, also of an order that was cancelled
meanwhile. The marks of any other order than the row's last one are without effect: they are of the past, or of an order that
this UEM never gave (or has forgotten, since it was put back), which no Sentry can give in its stead.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from sentry_runtime.devices.record import Reason, State, Wipe, WipeKind, WipeMark
from sentry_runtime.uem_server.rules import Standing
from sentry_runtime.uem_server.tables import Device, Wiping


class Word(enum.Enum):
    """What an administrator may say of a known device."""

    SET = "set"
    REMOVE = "remove"
    WIPE = "wipe"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Lifted:
    """An order with the note that an administrator gave it."""

    wipe: Wipe
    note: str


class NotNowError(ValueError):
    """The word is not valid as things stand; the message says why, and which are."""


_VALID: dict[State, frozenset[Word]] = {
    State.ALLOWED: frozenset({Word.SET, Word.REMOVE, Word.WIPE}),
    State.BLOCKED: frozenset({Word.SET, Word.REMOVE, Word.WIPE}),
    State.WIPE_PENDING: frozenset({Word.WIPE, Word.CANCEL}),
    State.WIPED: frozenset({Word.REMOVE}),
}
_WHY: dict[State, str] = {
    State.ALLOWED: "no wipe of it is pending",
    State.BLOCKED: "no wipe of it is pending",
    State.WIPE_PENDING: "a wipe of it is pending; cancel that first",
    State.WIPED: "it has been wiped; now it can only be removed",
}


def check(device: Device, word: Word) -> None:
    """Raise `NotNowError` unless the word is valid for the device as it is; a removed one has no past."""
    state = State(device.state)
    if not device.removed and word not in _VALID[state]:
        raise NotNowError(f"device {device.device_id} of {device.principal}: {_WHY[state]}")


def wipe_of(device: Device) -> Wipe | None:
    """The order that stands: of a device that is to be wiped or has been, and of no other."""
    wiping = device.wiping
    return None if device.removed or wiping is None or wiping.cancelled else _wipe(wiping)


def wipe(kind: str, number: int, by: str, marks: Iterable[str]) -> Wipe:
    """The order of which a row says this."""
    return Wipe(kind=WipeKind(kind), order=number, marks=tuple(map(WipeMark, marks)), by=by)


def _wipe(wiping: Wiping) -> Wipe:
    return wipe(wiping.kind, wiping.number, wiping.by, wiping.marks)


def order(device: Device, kind: WipeKind, by: str, version: int) -> bool:
    """Order a wipe under this version; False when it is ordered already. Raises `NotNowError`."""
    check(device, Word.WIPE)
    present = wipe_of(device)
    if present is None:
        _begin(device, Wipe(kind=kind, order=version, by=by))
    elif present.kind is not kind:
        raise NotNowError(f"device {device.device_id} of {device.principal}: another {_WHY[State.WIPE_PENDING]}")
    return present is None


def cancel(device: Device, automatic: Standing) -> Wipe:
    """Take the pending order back, so that what stood before stands again; the order as it was. Raises `NotNowError`.

    `automatic` is the present word on the device, where no administrator had said another by hand: something may have been
    found wrong with it, or mended, meanwhile.
    """
    check(device, Word.CANCEL)
    lifted = lift(device)
    if lifted is None:
        raise AssertionError("a device that is to be wiped has its order")
    if not device.manual:
        device.state, device.reasons = automatic.state, list(automatic.reasons)
    return lifted.wipe


def lift(device: Device) -> Lifted | None:
    """Cancel the order that stands, whatever has come of it, so that what was said before it stands again."""
    wiping = device.wiping
    if wiping is None or wipe_of(device) is None:
        return None
    lifted = Lifted(_wipe(wiping), device.note)
    wiping.cancelled = True
    device.manual, device.note = wiping.before_manual, wiping.before_note
    device.state, device.reasons = wiping.before_state, list(wiping.before_reasons)
    return lifted


def lay(device: Device, lifted: Lifted) -> None:
    """Have the order stand, over what is said of this device now."""
    _begin(device, lifted.wipe)
    device.note = lifted.note


def report(device: Device, told: Wipe) -> bool:
    """Take over what a Sentry says has come of an order; whether that changes anything."""
    wiping = device.wiping
    if wiping is None or wiping.number != told.order:
        return False
    news = told.acknowledged if wiping.cancelled else not set(told.marks).issubset(wiping.marks)
    if news:
        known = _wipe(wiping).marked(told.marks)
        wiping.cancelled, wiping.marks = False, list(known.marks)
        _stand(device, known.state)
    return news


def give_order(device: Device, version: int) -> None:
    """Give a row from before orders were kept the one that its state says. What stood before it is not known: a block."""
    state = device.state
    device.state, device.reasons = State.BLOCKED, [Reason.MANUAL]
    marks = (WipeMark.UNVERIFIED,) if state == State.WIPED else ()
    _begin(device, Wipe(kind=WipeKind.DEVICE, order=version, marks=marks))


def _begin(device: Device, ordered: Wipe) -> None:
    """The order stands, with what stands now as what stood before it."""
    wiping = device.wiping or Wiping()
    wiping.before_state, wiping.before_reasons = device.state, list(device.reasons)
    wiping.before_manual, wiping.before_note = device.manual, device.note
    wiping.kind, wiping.number, wiping.by = ordered.kind, ordered.order, ordered.by
    wiping.marks, wiping.cancelled = list(ordered.marks), False
    device.wiping = wiping
    _stand(device, ordered.state)


def _stand(device: Device, state: State) -> None:
    device.state, device.reasons, device.manual = state, [], True
