#!/usr/bin/python
"""Ansible module: take an appliance's gateway out of its balancers, drain it, or end both, over its REST API."""

import time

from ansible.module_utils.sentry_rest import Rest, run

DOCUMENTATION = r"""
---
module: appliance_gateway
short_description: Drain an appliance's gateway, or have it serve again
description:
  - Speaks to the appliance's REST API from the controller. A restart ends what this module began.
options:
  url:
    description: The appliance's REST API, such as V(https://gw1.example.test:8443).
    type: str
    required: true
  token:
    description: A token with the scopes C(read) and C(services), and C(power) for V(drained).
    type: str
    required: true
  ca:
    description: The file of the authority that the appliance's certificate is verified by; without it the system's are taken.
    type: path
  enable_secret:
    description: Instead of the scope C(power).
    type: str
  state:
    description:
      - V(drained) takes nobody new and waits until the rest have finished, or O(seconds) are over; V(serving) ends that.
    choices: [drained, serving]
    default: drained
    type: str
  seconds:
    description: How long to wait for those who are served; who is left then is cut off by what comes next.
    type: int
    default: 120
author: Sentry
"""

EXAMPLES = r"""
- name: Take nobody new
  appliance_gateway:
    url: "https://{{ inventory_hostname }}:8443"
    token: "{{ vault_sentry_token }}"
    state: drained
  delegate_to: localhost
  become: false
"""

RETURN = r"""
gateway: {description: What the gateway says of itself at last., returned: success, type: dict}
"""

LOOK_SECONDS = 1.0  # between two looks
ACTIONS = {"drained": "drain", "serving": "resume"}
STATES = {"drained": ("drained",), "serving": ("running",)}


def work(module):
    """Do it; whether anything changed, and what the gateway says."""
    rest, wanted = Rest(module), module.params["state"]
    said = _said(rest)
    if said.get("state") in STATES[wanted]:
        return False, said
    if module.check_mode:
        return True, said
    rest.ask("POST", "gateway", ACTIONS[wanted])
    deadline = time.monotonic() + module.params["seconds"]
    while (said := _said(rest)).get("state") not in STATES[wanted] and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    return True, said


def _said(rest):
    shown = rest.ask("GET", "facts", "gateway")
    return dict(shown["facts"]) if shown["kind"] == "facts" else {}


def main():
    """Do it, and say what came of it."""
    spec = {
        "state": {"type": "str", "choices": ["drained", "serving"], "default": "drained"},
        "seconds": {"type": "int", "default": 120},
    }
    run(spec, work, "gateway")


if __name__ == "__main__":
    main()
