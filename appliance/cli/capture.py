"""The commands about captures of packets: start one by typed fields, end it. Its file is fetched as all downloads are."""

import itertools
from collections.abc import Mapping
from typing import Any

from appliance.cli import output
from appliance.cli.command import Action, Command, Mode
from appliance.cli.output import Output
from appliance.cli.shell import Shell
from appliance.configd import api

Values = Mapping[str, str]

PRIVILEGED = frozenset({Mode.PRIVILEGED})
PROTOCOLS = "any|tcp|udp|icmp|arp"
WHOLE = " whole"
PARTS = ("", " host <address>"), ("", " port <port>"), ("", " seconds <seconds>")


def start(*, whole: bool) -> Action:
    """The command that begins a capture of headers, or of whole packets."""

    def action(shell: Shell, values: Values) -> Output:
        fields: dict[str, Any] = {"interface": values["interface"], "protocol": values["protocol"]}
        fields |= {"host": values["address"]} if "address" in values else {}
        fields |= {name: int(values[name]) for name in ("port", "seconds") if name in values}
        return output.shown(shell.call(api.StartCapture, api.Facts, **fields, whole=whole))

    return action


def stop(shell: Shell, _values: Values) -> Output:
    """End the capture that runs; says how its file is called."""
    made = shell.call(api.StopCapture, api.Download)
    facts = (("download", made.name), ("bytes", str(made.size)), ("waits until", made.until))
    return output.facts(facts, title="capture")


def _starting() -> tuple[Command, ...]:
    first = f"debug capture start <interface> <protocol:{PROTOCOLS}>"
    made = []
    for parts in itertools.product(*PARTS):
        tail = "".join(parts)
        text = "The same, so narrowed" if tail else "Capture the headers of packets for a minute"
        made.append(Command(f"{first}{tail}", text, start(whole=False), PRIVILEGED))
        made.append(Command(f"{first}{tail}{WHOLE}", "With what is in the packets", start(whole=True), PRIVILEGED))
    return tuple(made)


COMMANDS: tuple[Command, ...] = (
    *_starting(),
    Command("debug capture stop", "End the capture that runs", stop, PRIVILEGED),
)

WORDS = {
    "debug capture": "See what comes and goes on an interface; one at a time, five minutes at most",
    "debug capture start": "Begin one",
    **{
        f"debug capture start <interface> {protocol}": text
        for protocol, text in (
            ("any", "All packets"),
            ("tcp", "TCP alone"),
            ("udp", "UDP alone"),
            ("icmp", "ICMP and ICMPv6 alone"),
            ("arp", "ARP alone"),
        )
    },
}
