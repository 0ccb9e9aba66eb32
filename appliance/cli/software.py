"""The commands about the software of an image: how it stands, the update that was uploaded, and the way back."""

from collections.abc import Mapping
from typing import Any

import msgspec

from appliance.cli import output
from appliance.cli.command import Action, Command, CommandError, Mode
from appliance.cli.output import Output
from appliance.cli.shell import Shell
from appliance.configd import api

Values = Mapping[str, str]

EXEC = frozenset({Mode.EXEC, Mode.PRIVILEGED})
PRIVILEGED = frozenset({Mode.PRIVILEGED})
NO_IMAGE = "This machine was provisioned and is no image: its software comes by playbooks/provision.yml."
BEGUN = "It has begun; `software status` says how it goes, and `reload` starts what it leaves."


def status(shell: Shell, _values: Values) -> Output:
    """What runs, what the slots hold, and how the last order went."""
    return described(shell.call(api.ReadSoftware, api.Software))


def described(software: api.Software) -> Output:
    """The same as lines and as data."""
    data: Any = msgspec.to_builtins(software)
    if not software.image:
        return Output((NO_IMAGE,), data)
    rows = [_row(slot, software) for slot in software.slots]
    slots = output.table(("slot", "version", "state", "now", "verified", "damage"), rows)
    order = software.order
    about = [
        ("version", software.version),
        ("uploaded", f"{software.uploaded} bytes" if software.uploaded else "nothing"),
    ]
    if order is not None:
        about += [("last order", f"{order.kind} by {order.by}: {order.standing}"), ("since", order.began)]
        about += [("ended", order.ended), ("problem", order.problem)]
    facts = output.facts([(name, value) for name, value in about if value])
    return Output((*slots.lines, "", *facts.lines), data)


def _row(slot: api.SoftwareSlot, software: api.Software) -> tuple[str, ...]:
    now = "runs" if slot.name == software.running else ""
    then = "next" if slot.name == software.next and software.next != software.running else ""
    return slot.name, slot.version, slot.state, now or then, slot.verified, slot.damage


def update(*, allow_older: bool) -> Action:
    """The command that has the uploaded update written into the other slot."""

    def action(shell: Shell, _values: Values) -> Output:
        if not shell.confirm("Write the update that was uploaded into the slot that does not run?"):
            raise CommandError("Not done.")
        shell.call(api.UpdateSoftware, api.Software, allow_older=allow_older)
        return Output((BEGUN,), {"begun": True})

    return action


def roll_back(shell: Shell, _values: Values) -> Output:
    """Have the next restart take the other slot."""
    if not shell.confirm("Have the next restart take the other slot?"):
        raise CommandError("Not done.")
    shell.call(api.RollBackSoftware, api.Software)
    return Output((BEGUN,), {"begun": True})


COMMANDS: tuple[Command, ...] = (
    Command("show software", "What runs, what the slots hold, and how the last order went", status, EXEC),
    Command("software status", "The same", status, PRIVILEGED),
    Command("software update", "Write the uploaded update into the other slot", update(allow_older=False), PRIVILEGED),
    Command("software update older", "The same, though it is no newer", update(allow_older=True), PRIVILEGED),
    Command("software rollback", "Have the next restart take the other slot", roll_back, PRIVILEGED),
)

WORDS = {"software": "Updates of the whole system, and the way back"}
