#!/usr/bin/python
"""Ansible module: which systemd units are enabled, running or masked, for a whole role in one call."""

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
---
module: sentry_units
short_description: Enable, start, disable and mask systemd units, all in one call
description:
  - Units that are to be masked need not exist.
  - A unit whose conditions are not met (C(ConditionPathExists) and the like) counts as started; systemd skipped it.
options:
  enabled:
    description: Units started at boot.
    type: list
    elements: str
    default: []
  started:
    description: Units that must be running now.
    type: list
    elements: str
    default: []
  disabled:
    description: Units neither running nor started at boot; those that do not exist are passed over.
    type: list
    elements: str
    default: []
  masked:
    description: Units that cannot be started at all.
    type: list
    elements: str
    default: []
  retired:
    description: Units not started at boot any more, but left as they are now; those that do not exist are passed over.
    type: list
    elements: str
    default: []
author: Sentry
"""

EXAMPLES = r"""
- name: Run what the appliance needs and nothing else
  sentry_units:
    enabled: [nftables.service]
    masked: [systemd-resolved.service]
"""

RETURN = r"""
actions:
  description: The systemctl calls that were made (or would be, in check mode).
  returned: always
  type: list
  elements: list
"""

ON_AT_BOOT = ("enabled", "enabled-runtime", "static", "alias", "indirect", "generated", "linked")


def properties(units, module):
    """What systemd knows of each unit: LoadState, UnitFileState, ActiveState, ConditionResult, NeedDaemonReload."""
    if not units:
        return {}
    show = [
        "systemctl",
        "show",
        "--property=LoadState,UnitFileState,ActiveState,ConditionResult,NeedDaemonReload",
        *units,
    ]
    _, out, _ = module.run_command(show, check_rc=True)
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in out.strip().split("\n\n")]
    return dict(zip(units, blocks, strict=True))


def skipped(unit):
    """systemd looked at the unit and its conditions said no."""
    return unit["ActiveState"] == "inactive" and unit["ConditionResult"] == "no"


def plan(wanted, state):
    """The systemctl calls that bring `state` to what is wanted, in the order in which they must be made."""
    loaded = [name for name in wanted["disabled"] if state[name]["LoadState"] == "loaded"]
    retired = [name for name in wanted["retired"] if state[name]["LoadState"] == "loaded"]
    off = [*wanted["masked"], *loaded]
    calls = {
        "stop": [name for name in off if state[name]["ActiveState"] == "active"],
        "reset-failed": [name for name in off if state[name]["ActiveState"] == "failed"],
        "disable": [name for name in [*loaded, *retired] if state[name]["UnitFileState"] == "enabled"],
        "mask": [name for name in wanted["masked"] if state[name]["LoadState"] != "masked"],
        "enable": [name for name in wanted["enabled"] if state[name]["UnitFileState"] not in ON_AT_BOOT],
        "start": [name for name in wanted["started"] if state[name]["ActiveState"] not in ("active", "activating")],
    }
    return {verb: names for verb, names in calls.items() if names}


def apply(calls, module):
    """Make the calls; returns those that made a difference."""
    made = []
    for verb, names in calls.items():
        module.run_command(["systemctl", verb, *names], check_rc=True)
        if verb == "start":
            after = properties(names, module)
            made.append([verb, *(name for name in names if not skipped(after[name]))])
        else:
            made.append([verb, *names])
    return [call for call in made if call[1:]]


def main():
    """Look, plan, apply."""
    lists = ("enabled", "started", "disabled", "masked", "retired")
    option = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(argument_spec={name: dict(option) for name in lists}, supports_check_mode=True)
    wanted = {name: list(dict.fromkeys(module.params[name])) for name in lists}
    names = list(dict.fromkeys(name for values in wanted.values() for name in values))
    state = properties(names, module)
    if not module.check_mode and any(unit["NeedDaemonReload"] == "yes" for unit in state.values()):
        module.run_command(["systemctl", "daemon-reload"], check_rc=True)
        state = properties(names, module)
    calls = plan(wanted, state)
    made = [[verb, *units] for verb, units in calls.items()] if module.check_mode else apply(calls, module)
    module.exit_json(changed=bool(made), actions=made)


if __name__ == "__main__":
    main()
