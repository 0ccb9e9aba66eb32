"""A wipe in an administrator's words. It must not let anybody believe more than what is known."""

from sentry_runtime.devices.record import Record, State, Wipe, WipeKind, WipeMark

_KINDS = {WipeKind.DEVICE: "the whole device", WipeKind.ACCOUNT: "the account only"}
# In the order in which they come about.
_MARKS = {
    WipeMark.TOO_OLD: "came with a version below 16.1, which has no wipe of an account: blocked",
    WipeMark.HANDED_OUT: "handed out",
    WipeMark.FAILED: "failed, asked again",
    WipeMark.UNVERIFIED: "acknowledged, unverified",
    WipeMark.VERIFIED: "acknowledged, verified",
}


def state(record: Record) -> str:
    """The entry's state as one may rely on it."""
    unverified = record.state is State.WIPED and record.wipe is not None and not record.wipe.verified
    return f"{record.state}, unverified" if unverified else record.state.value


def told(record: Record) -> str:
    """What is ordered and what has come of it; "" where no wipe is."""
    wipe = record.wipe
    if wipe is None:
        return ""
    marks = set(wipe.marks) - ({WipeMark.UNVERIFIED} if wipe.verified else set())
    known = "; ".join(words for mark, words in _MARKS.items() if mark in marks) or "waits for the device"
    return f"{_KINDS[wipe.kind]}{f', by {wipe.by}' if wipe.by else ''}: {known}"


def ordered(kind: WipeKind, device_id: str) -> str:
    """What to know after the order."""
    follow = f"`show sentry device {device_id}` says what comes of it."
    if kind is WipeKind.DEVICE:
        return f"The wipe is ordered; the device is refused until it is removed or the wipe is cancelled. {follow}"
    return (
        "The wipe of the account is ordered. ActiveSync has it from 16.1 on: a device that comes with an older version is "
        f"blocked, and gets it when it comes with 16.1. {follow}"
    )


def cancelled(wipe: Wipe) -> str:
    """What to know after the order was taken back."""
    if WipeMark.HANDED_OUT in wipe.marks:
        return "The wipe is cancelled, but the order had been handed out: the device may wipe itself all the same."
    return "The wipe is cancelled. It had not been handed out."
