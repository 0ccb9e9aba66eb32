#!/usr/bin/python
"""Ansible module: what an appliance says of itself, through its own configuration manager."""

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sentry_rest import ARGUMENTS, TOGETHER, Refused, Rest

DOCUMENTATION = r"""
---
module: appliance_facts
short_description: What an appliance says of itself
description:
  - Asks C(sentry-configctl) for topics of C(show) and for the running configuration. It changes nothing.
  - Secrets are masked, there as everywhere.
  - With O(url) it asks the appliance's REST API instead, from wherever it runs.
options:
  url:
    description: The appliance's REST API, such as V(https://gw1.example.test:8443); the module then runs on the controller.
    type: str
  token:
    description: A token with the scope C(read).
    type: str
  ca:
    description: The file of the authority that the appliance's certificate is verified by; without it the system's are taken.
    type: path
  enable_secret:
    description: Not needed here; the same options go to both modules.
    type: str
  topics:
    description: Topics by the names that docs/parity.md lists.
    type: list
    elements: str
    default: [version, system, interfaces, services, fips, connectivity]
  configuration:
    description: Whether the running configuration is told, too.
    type: bool
    default: false
author: Sentry
"""

EXAMPLES = r"""
- name: Ask the appliance
  appliance_facts:
    topics: [version, connectivity]
  register: told

- name: Say which version runs
  ansible.builtin.debug:
    var: told.appliance.version.Sentry
"""

RETURN = r"""
appliance:
  description:
    - Each topic by its name. Facts are names and values, a table is a list of rows by their columns, a text a list of lines.
  returned: success
  type: dict
unanswered: {description: Topics that could not be told, with the reason., returned: success, type: dict}
configuration: {description: The running configuration; secrets are masked., returned: when asked for, type: dict}
"""

CONFIGCTL = Path("/usr/lib/sentry/bin/sentry-configctl")


def ask(module, *words):
    """What sentry-configctl says, read as JSON."""
    code, out, err = module.run_command([str(CONFIGCTL), *words])
    if code != 0:
        module.fail_json(msg=f"The appliance does not answer `{' '.join(words)}`.\n{err.strip()}", rc=code)
    return json.loads(out)


def by_rest(module):
    """The topics and, where it is wanted, the configuration, by REST. A topic that cannot be told has its reason instead."""
    rest, told = Rest(module), {}
    try:
        for topic in module.params["topics"]:
            try:
                told[topic] = rest.ask("GET", "facts", topic)
            except Refused as error:
                if error.status in (401, 403, 429):  # so it is with every topic
                    raise
                told[topic] = {"kind": "problem", "problem": str(error)}
        return told, rest.ask("GET", "config") if module.params["configuration"] else None
    except Refused as error:
        module.fail_json(msg=f"The appliance does not tell.\n{error}", status=error.status)


def plain(shown):
    """One topic in the shape that is easiest to use in a play."""
    if shown["kind"] == "facts":
        return dict(shown["facts"])
    if shown["kind"] == "table":
        return [dict(zip(shown["columns"], row, strict=True)) for row in shown["rows"]]
    return shown["lines"]


def main():
    """Ask, and put the answers into shape."""
    module = AnsibleModule(
        argument_spec={
            "topics": {
                "type": "list",
                "elements": "str",
                "default": ["version", "system", "interfaces", "services", "fips", "connectivity"],
            },
            "configuration": {"type": "bool", "default": False},
            **ARGUMENTS,
        },
        required_together=TOGETHER,
        supports_check_mode=True,
    )
    configuration = None
    if module.params["url"]:
        told, configuration = by_rest(module)
    else:
        told = ask(module, "facts", *module.params["topics"]) if module.params["topics"] else {}
    result = {
        "appliance": {topic: plain(shown) for topic, shown in told.items() if shown["kind"] != "problem"},
        "unanswered": {topic: shown["problem"] for topic, shown in told.items() if shown["kind"] == "problem"},
    }
    if module.params["configuration"]:
        result["configuration"] = configuration if module.params["url"] else ask(module, "get")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
