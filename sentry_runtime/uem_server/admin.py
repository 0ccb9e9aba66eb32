"""`python -m sentry_runtime.uem_server.admin`: the UEM's administration from a root shell, over its socket."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from sentry_runtime import control
from sentry_runtime.devices.record import State, Wipe, WipeKind
from sentry_runtime.settings import Paths
from sentry_runtime.uem.api import Decision

PROGRAM = "sentry-uem-admin"


def main(arguments: list[str] | None = None) -> int:
    """Do what the arguments say; 0, or 1 with the reason on stderr."""
    given = _parser().parse_args(arguments)
    try:
        sys.stdout.writelines(_lines(given))
    except control.ControlError as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Register, allow, block, wipe and remove devices.")
    parser.add_argument("--socket", type=Path, default=Path(Paths().uem_admin))
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="what the UEM knows")
    verbs.add_parser("policies", help="the ActiveSync policies there are")
    show = verbs.add_parser("show", help="a device's policy, and what it says of itself")
    show.add_argument("device", metavar="DEVICE", help="its ActiveSync device id")
    for verb, text in (
        ("register", "the device belongs to the principal and may pass"),
        ("allow", "the device may pass, registered or not"),
        ("block", "the device may not pass"),
        ("wipe", "the device deletes everything on it as soon as it comes"),
        ("cancel-wipe", "take a wipe back that was not acknowledged yet"),
        ("remove", "forget the device"),
        ("assign-policy", "the device must apply this policy"),
        ("revert-policy", "the device must apply the default policy"),
    ):
        one = verbs.add_parser(verb, help=text)
        one.add_argument("device", metavar="DEVICE", help="its ActiveSync device id")
        one.add_argument("principal", metavar="PRINCIPAL", help="who uses it: user@domain or user")
        if verb == "register":
            one.add_argument("--type", default="", help="such as iPhone")
        if verb == "wipe":
            one.add_argument("--account-only", action="store_true", help="this account's data alone (ActiveSync 16.1)")
        if verb == "assign-policy":
            one.add_argument("policy", metavar="POLICY", help="the policy's name")
        if verb == "revert-policy":
            one.set_defaults(policy=None)
        if verb in ("register", "allow", "block", "wipe", "cancel-wipe"):
            one.add_argument("--note", default="", help="why, for people")
    return parser


def _request(given: argparse.Namespace) -> control.Request:
    device, principal = given.device, given.principal
    match given.verb:
        case "register":
            return control.Register(device_id=device, principal=principal, device_type=given.type, note=given.note)
        case "wipe":
            kind = WipeKind.ACCOUNT if given.account_only else WipeKind.DEVICE
            return control.OrderWipe(device_id=device, principal=principal, kind=kind, note=given.note)
        case "cancel-wipe":
            return control.CancelWipe(device_id=device, principal=principal, note=given.note)
        case "remove":
            return control.Remove(device_id=device, principal=principal)
        case "assign-policy" | "revert-policy":
            return control.AssignPolicy(device_id=device, principal=principal, policy=given.policy)
        case verb:
            state = State.ALLOWED if verb == "allow" else State.BLOCKED
            return control.SetState(device_id=device, principal=principal, state=state, note=given.note)


def _lines(given: argparse.Namespace) -> Iterator[str]:
    match given.verb:
        case "list":
            yield from map(_row, _all(given.socket))
        case "policies":
            for named in control.call(given.socket, control.ListPolicies(), list[control.NamedPolicy]):
                default = "default" if named.default else "-"
                said = msgspec.json.encode(named.policy).decode()
                yield "\t".join((named.name, default, str(named.assigned), said)) + "\n"
        case "show":
            shown = control.ShowRegistered(device_id=given.device)
            for known in control.call(given.socket, shown, list[control.Registered]):
                said = "-" if known.information is None else msgspec.json.encode(known.information).decode()
                yield "\t".join((known.key.device_id, known.key.principal, known.policy or "-", said)) + "\n"
        case "cancel-wipe":
            yield _wipe_words(control.call(given.socket, _request(given), Wipe)) + "\n"
        case _:
            yield _row(control.call(given.socket, _request(given), Decision))


def _all(socket: Path) -> Iterator[Decision]:
    after = 0
    while page := control.call(socket, control.ListRegistered(after=after), list[Decision]):
        yield from page
        after = page[-1].version


def _row(decision: Decision) -> str:
    state = "removed" if decision.removed else decision.state
    words = (
        decision.device_id,
        decision.principal,
        state,
        "registered" if decision.registered else "-",
        _wipe_words(decision.wipe) if decision.wipe is not None else ",".join(decision.reasons) or "-",
        decision.device_type or "-",
        decision.note,
    )
    return "\t".join(words).rstrip("\t") + "\n"


def _wipe_words(wipe: Wipe) -> str:
    return ",".join((wipe.kind, *wipe.marks))


if __name__ == "__main__":
    sys.exit(main())
