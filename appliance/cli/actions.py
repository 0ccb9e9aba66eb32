"""What the commands of EXEC and PRIVILEGED mode do: each sends a typed verb to configd, or changes the shell itself."""

from collections.abc import Mapping
from typing import Any

from appliance.cli import grammar, output
from appliance.cli.command import Action, CommandError, Mode
from appliance.cli.config_lines import change_lines, config_lines
from appliance.cli.output import Output
from appliance.cli.shell import Leave, Shell
from appliance.configd import api
from sentry_runtime.control import Explanation

Values = Mapping[str, str]

HELP = (
    "?              what may stand here, at any point of a line, without Enter; inside a word: the words that begin so",
    "Tab            complete the word, or list the ways to",
    "abbreviations  any word may be shortened while it is unambiguous; upper and lower case are the same",
    '"..."          one argument with blanks in it; \\n in it is a line end',
    '| include W    only the lines with the word W; | json: the same facts as JSON; a line that begins with "!" is a comment',
    "Ctrl-A Ctrl-E  begin, end of the line;   Ctrl-B Ctrl-F  one character back, on",
    "Ctrl-W Ctrl-U  delete the word, the line before;   Ctrl-K  the rest of the line;   Ctrl-D  the character",
    "Ctrl-P Ctrl-N  earlier, later line;   Ctrl-R  search in earlier lines;   Ctrl-C  give the line up",
    "Ctrl-D, exit, logout leave; in the configuration modes exit and end go one mode up",
)


# --- looking ---------------------------------------------------------------------------------------------------------


def show(topic: str, argument: str = "") -> Action:
    """The command that shows a topic; a device `id` or a `filter` on the line goes with it."""

    def action(shell: Shell, values: Values) -> Output:
        wanted = values.get("id", values.get("filter", argument))
        return output.shown(shell.call(api.Show, api.Shown, topic=topic, argument=wanted))

    return action


def show_config(view: api.View) -> Action:
    """The command that shows a configuration, as the lines one would type."""

    def action(shell: Shell, _values: Values) -> Output:
        tree = shell.call(api.GetConfig, Any, view=view, path=())
        return Output(tuple(config_lines(tree)), tree)

    return action


def explain(shell: Shell, values: Values) -> Output:
    """What would become of a device's request, and the rows of the decision's table down to the one that decides."""
    fields = {"device_id": values["id"], "principal": values["user"], "source": values.get("address", "")}
    fields |= {"command": values["command"]} if "command" in values else {}
    said = shell.call(api.Explain, Explanation, **fields)
    return output.explained(said)


def show_timeout(shell: Shell, _values: Values) -> Output:
    """The idle times: this session's and the configured ones."""
    told = output.shown(shell.call(api.Show, api.Shown, topic="timeout"))
    mine = f"{shell.idle_seconds // 60} min"
    data = {**told.data, "this session": mine}
    return Output((f"this session: {mine}", *told.lines), data)


def show_diff(shell: Shell, _values: Values) -> Output:
    """What the candidate would change."""
    changes = shell.call(api.DiffConfig, tuple[api.Change, ...])
    data = [{"path": list(each.path), "before": each.before, "after": each.after} for each in changes]
    return Output(tuple(change_lines(changes)) or ("The candidate changes nothing.",), data)


def show_revisions(shell: Shell, _values: Values) -> Output:
    """The kept revisions."""
    listed = shell.call(api.ListRevisions, tuple[api.Revision, ...])
    rows = [("*" if each.current else "", str(each.number), each.when, each.user, each.comment) for each in listed]
    return output.table(("current", "revision", "when", "user", "comment"), rows, title="revisions")


def help_keys(_shell: Shell, _values: Values) -> Output:
    """How to edit a line and get help."""
    return Output(HELP, {"help": list(HELP)})


# --- doing -----------------------------------------------------------------------------------------------------------


def ping(shell: Shell, values: Values) -> Output:
    """ICMP echo."""
    return output.shown(shell.call(api.Ping, api.Text, host=values["host"]))


def lookup(shell: Shell, values: Values) -> Output:
    """DNS look-up."""
    return output.shown(shell.call(api.Lookup, api.Text, host=values["host"]))


def trace(shell: Shell, values: Values) -> Output:
    """The routers on the way to a host."""
    return output.shown(shell.call(api.Trace, api.Table, host=values["host"]))


def clear_neighbours(shell: Shell, _values: Values) -> Output:
    """Forget the neighbours; says which those were."""
    return output.shown(shell.call(api.ClearNeighbours, api.Table))


def set_clock(shell: Shell, values: Values) -> None:
    """Set the clock by hand."""
    shell.call(api.SetClock, type(None), time=values["time"])


def service(shell: Shell, values: Values) -> Output:
    """Start, stop, restart one of our services, or say how it is."""
    name, act = values["service"], values["action"]
    return output.shown(shell.call(api.ControlService, api.Facts, service=name, action=act))


def maintain(shell: Shell, values: Values) -> Output:
    """Quiesce or drain the gateway, or end both."""
    return output.shown(shell.call(api.Maintain, api.Facts, action=values["action"]))


def purge_revocation(shell: Shell, _values: Values) -> None:
    """Forget what is known of revocation, and have it fetched anew."""
    shell.call(api.PurgeRevocation, type(None))


def persist_devices(shell: Shell, _values: Values) -> Output:
    """Have the disk confirm the device list."""
    return output.shown(shell.call(api.PersistDevices, api.Facts))


def check_in(shell: Shell, _values: Values) -> Output:
    """Check in with the Cloud now."""
    return output.shown(shell.call(api.CheckIn, api.Facts))


def enrol(shell: Shell, _values: Values) -> Output:
    """Ask for the token that the UEM's administrator has given out, and enrol this gateway with it."""
    token = shell.terminal.ask_secret("Token: ").strip()
    if not token:
        raise CommandError("Not done: there is no token.")
    return output.shown(shell.call(api.EnrolSentry, api.Facts, token=token))


def renew_enrolment(shell: Shell, _values: Values) -> Output:
    """Get the next certificate from the UEM now."""
    return output.shown(shell.call(api.EnrolSentry, api.Facts))


def device(shell: Shell, values: Values) -> None:
    """Register, allow, block or remove one device of one user."""
    fields = {"device_id": values["id"], "principal": values["user"], "note": values.get("note", "")}
    shell.call(api.DeviceAction, type(None), action=values["action"], **fields)


def clear_redirects(shell: Shell, values: Values) -> Output:
    """Forget where one device, or all of them, has been sent."""
    fields = {"device_id": values.get("id", ""), "principal": values.get("user", "")}
    count = shell.call(api.ClearRedirects, int, **fields)
    return Output((f"{count} forgotten.",), {"forgotten": count})


def wipe(action: str) -> Action:
    """The command that has a device wiped, wholly or but for one account, once the person has said yes. A device that the UEM
    does not know is refused before anybody is asked."""
    what = {"wipe": "everything on", "wipe-account": "this user's account and its data on"}[action]

    def run(shell: Shell, values: Values) -> Output:
        shell.call(api.FindDevice, tuple[str, ...], device_id=values["id"])
        if not shell.confirm(f"Really delete {what} device {output.safe(values['id'])}?"):
            raise CommandError("Not done.")
        fields = {"device_id": values["id"], "principal": values["user"], "note": values.get("note", "")}
        return _said(shell.call(api.DeviceAction, str, action=action, **fields))

    return run


def cancel_wipe(shell: Shell, values: Values) -> Output:
    """Take a wipe back that no device has acknowledged yet."""
    fields = {"device_id": values["id"], "principal": values["user"], "note": values.get("note", "")}
    return _said(shell.call(api.DeviceAction, str, action="cancel-wipe", **fields))


def _said(words: str) -> Output:
    return Output((words,), {"said": words})


def flag(shell: Shell, values: Values) -> None:
    """Say that something is wrong with a device, or no longer."""
    fields = {"device_id": values["id"], "principal": values["user"], "cause": values["cause"]}
    shell.call(api.FlagDevice, type(None), holds=values["finding"] == "flag", **fields)


def device_policy(shell: Shell, values: Values) -> None:
    """Have one device of one user apply a policy, or the default one again."""
    device, user = values["id"], values["user"]
    shell.call(api.DevicePolicy, type(None), device_id=device, principal=user, policy=values.get("policy"))


def power(action: str) -> Action:
    """The command that restarts or turns off the machine. With an uncommitted candidate it asks to commit that first."""
    words = {"reload": "restart", "poweroff": "turn off"}[action]

    def run(shell: Shell, _values: Values) -> None:
        if shell.call(api.DiffConfig, tuple[api.Change, ...]):
            if not shell.confirm("The candidate has changes that are not committed. Commit them?"):
                raise CommandError("Not done. `discard` the candidate in configuration mode, or answer yes.")
            shell.call(api.Commit, api.Committed, comment=f"before {action}")
        if not shell.confirm(f"Really {words} this appliance?"):
            raise CommandError("Not done.")
        shell.call(api.Power, type(None), action=action)

    return run


# --- the session itself ----------------------------------------------------------------------------------------------


def enable(shell: Shell, _values: Values) -> None:
    """Ask for the enable secret and go privileged."""
    if shell.mode is Mode.EXEC:
        secret = shell.terminal.ask_secret("Enable secret: ")
        shell.renew(shell.call(api.Enable, api.Session, secret=secret))
        shell.mode = Mode.PRIVILEGED


def disable(shell: Shell, _values: Values) -> None:
    """Give privilege up."""
    shell.renew(shell.call(api.Disable, api.Session))
    shell.mode = Mode.EXEC


def configure(shell: Shell, _values: Values) -> Output | None:
    """Enter CONFIG mode."""
    shell.mode = Mode.CONFIG
    text = "Enter configuration commands, one per line. `commit` makes them real, `discard` forgets them."
    return Output((text,), None) if shell.terminal.interactive else None


def leave(_shell: Shell, _values: Values) -> None:
    """End the session."""
    raise Leave


def up(shell: Shell, values: Values) -> None:
    """Go one mode up."""
    above = {Mode.INTERFACE: Mode.CONFIG, Mode.CONFIG: Mode.PRIVILEGED}
    if shell.mode is Mode.PRIVILEGED:
        disable(shell, values)
    elif shell.mode in above:
        shell.mode = above[shell.mode]


def timeout(shell: Shell, values: Values) -> None:
    """Shorten this session's idle time; the configured one is the most."""
    most = shell.session.idle_seconds // 60
    wanted = int(values["minutes"])
    if not 1 <= wanted <= most:
        raise CommandError(f"Found {wanted} minutes; allowed: 1 to {most} (what cli idle_minutes says).")
    shell.idle_seconds = wanted * 60


def terminal_length(shell: Shell, values: Values) -> None:
    """Pause after so many lines; 0 never pauses."""
    shell.page_lines = int(values["lines"])


def whole_number(low: int, high: int) -> grammar.Refuse:
    """The check of an argument that is a whole number."""

    def refuse(text: str) -> str | None:
        if text.isascii() and text.isdigit() and low <= int(text) <= high:
            return None
        return f"Found {text[:40]!r}; allowed: a whole number from {low} to {high}."

    return refuse
