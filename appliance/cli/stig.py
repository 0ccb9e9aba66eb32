"""The commands of who assesses the appliance: one fact that a STIG scan judges by, and a scan that the appliance makes itself."""

from collections.abc import Mapping

import msgspec

from appliance.cli.output import Output
from appliance.cli.shell import Shell
from appliance.configd import api


def fact(shell: Shell, values: Mapping[str, str]) -> Output:
    """The fact: its command, what that printed, and its exit status."""
    told = shell.call(api.ReadFact, api.Fact, name=values["fact"])
    lines = (f"$ {told.command}", *told.output.splitlines(), *told.errors.splitlines())
    return Output((*lines, f"exit status {told.status}"), msgspec.to_builtins(told))


def scan(shell: Shell, _values: Mapping[str, str]) -> Output:
    """Have the appliance scan itself."""
    shell.call(api.StartScan, type(None))
    return Output(("The scan has begun; it takes about a minute. `show stig` has what it finds.",), {"started": True})
