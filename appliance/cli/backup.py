"""The commands about backups: print one as a block, and take one that is pasted."""

from collections.abc import Mapping
from typing import Any

from appliance.backup import armour
from appliance.cli import configure, output
from appliance.cli.command import Command, CommandError, Mode
from appliance.cli.config_lines import change_lines
from appliance.cli.output import Output
from appliance.cli.shell import Shell, reasons
from appliance.configd import api
from appliance.configd.client import Refused

Values = Mapping[str, str]

PRIVILEGED = frozenset({Mode.PRIVILEGED})


def export(shell: Shell, _values: Values) -> Output:
    """Ask for a passphrase twice, and print a backup of what runs that is sealed with it."""
    passphrase = configure.twice(shell, "Passphrase of the backup")
    made = shell.call(api.ExportBackup, api.Backup, passphrase=passphrase)
    return Output(armour.armoured(made.backup), {name: getattr(made, name) for name in made.__struct_fields__})


def export_kept(shell: Shell, values: Values) -> Output:
    """Print a backup that lies here; it is sealed already."""
    made = shell.call(api.ExportBackup, api.Backup, name=values["backup"])
    return Output(armour.armoured(made.backup), {name: getattr(made, name) for name in made.__struct_fields__})


def send(shell: Shell, values: Values) -> Output:
    """Have one that lies here sent to every destination, and say what came of each."""
    return output.shown(shell.call(api.SendBackup, api.Facts, name=values.get("backup", "")))


def restore(shell: Shell, _values: Values) -> Output:
    """Take a backup and its passphrase, show what it would change, and make it what runs once the person has said yes."""
    fields: dict[str, Any] = {"backup": _block(shell)}
    fields["passphrase"] = shell.terminal.ask_secret("Passphrase of the backup: ")
    found, minutes = _checked(shell, fields)
    if not found.changed:
        return Output(("Nothing is different; nothing was changed.",), {"changed": False})
    files = (f"would write {file}" for file in found.files)
    shell.terminal.write((*change_lines(found.changes), *files))
    if not shell.confirm("Restore this backup? It becomes what runs."):
        raise CommandError("Not done.")
    fields |= {"confirm_minutes": minutes, "digest": found.digest}
    return configure.committed(shell.call(api.RestoreBackup, api.Committed, **fields))


def _checked(shell: Shell, fields: Mapping[str, Any]) -> tuple[api.Committed, int | None]:
    """What it would change, and for how many minutes it is to be tried: what would cut this session off is never for good."""
    try:
        return shell.call(api.RestoreBackup, api.Committed, **fields, check_only=True), None
    except Refused as refused:
        if refused.refusal.kind != "lockout" or not shell.terminal.interactive:
            raise
        for line in reasons(refused):
            shell.terminal.error(line)
        minutes = configure.TRIED_MINUTES
        if not shell.confirm(f"Try it for {minutes} minutes, after which it returns unless you give `confirm`?"):
            raise CommandError("Not done.") from refused
    found = shell.call(api.RestoreBackup, api.Committed, **fields, check_only=True, confirm_minutes=minutes)
    return found, minutes


def _block(shell: Shell) -> str:
    if shell.terminal.interactive:
        shell.terminal.write([f"Enter the backup, from {armour.BEGIN} to {armour.END}."])
    lines: list[str] = []
    ended = False
    while not ended:
        # A terminal may hand over what was pasted in one piece.
        more = [line.strip() for line in shell.terminal.ask("").splitlines() if line.strip()]
        lines += more
        ended = armour.END in more
        if lines[:1] not in ([], [armour.BEGIN]):
            raise CommandError(f"Not done: found another first line; allowed: {armour.BEGIN}")
        if len(lines) > armour.LINES:
            raise CommandError(f"Not done: more than {armour.LINES} lines, and none that ends the backup.")
    return "\n".join(lines)


COMMANDS: tuple[Command, ...] = (
    Command("backup export", "Print a backup of what runs (asks for a passphrase)", export, PRIVILEGED),
    Command("backup export <backup>", "Print one that lies here, sealed as it is", export_kept, PRIVILEGED),
    Command("backup send", "Send the newest one that lies here to every destination, now", send, PRIVILEGED),
    Command("backup send <backup>", "The same for this one", send, PRIVILEGED),
    Command("backup restore", "Make a backup what runs (asks for it and its passphrase)", restore, PRIVILEGED),
)

WORDS = {"backup": "One sealed file of the settings, secrets, keys and certificates"}
