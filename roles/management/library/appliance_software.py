#!/usr/bin/python
"""Ansible module: the software of an appliance that is an image, over its REST API."""

import time
from pathlib import Path

from ansible.module_utils.sentry_rest import Away, Refused, Rest, run

DOCUMENTATION = r"""
---
module: appliance_software
short_description: Update an appliance that is an image
description:
  - Speaks to the appliance's REST API from the controller. It neither drains nor asks anybody.
options:
  url:
    description: The appliance's REST API, such as V(https://gw1.example.test:8443).
    type: str
    required: true
  token:
    description: A token of an administrator with the scopes C(read), C(services) and C(power).
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
      - V(looked) asks how the software stands, and fails on a machine that is no image or that runs from a slot that has not been
        seen to run well.
      - V(written) brings O(bundle), unless O(version) runs or is next already, and waits until it is written into the slot that
        does not run.
      - V(running) restarts the appliance, unless O(version) runs already, and waits until it does and is well.
    choices: [looked, written, running]
    default: looked
    type: str
  version:
    description: The version that is wanted, as the bundle has it.
    type: str
  bundle:
    description: The update, a file on the controller.
    type: path
  allow_older:
    description: Whether the version need not be newer than what runs.
    type: bool
    default: false
  seconds:
    description: How long to wait for it to be written, or to run.
    type: int
    default: 1800
author: Sentry
"""

EXAMPLES = r"""
- name: Write the update
  appliance_software:
    url: "https://{{ inventory_hostname }}:8443"
    token: "{{ vault_sentry_token }}"
    state: written
    version: 1.3.0
    bundle: files/sentry-1.3.0.raucb
  delegate_to: localhost
  become: false
"""

RETURN = r"""
software: {description: How the software stands (C(GET /api/v1/software))., returned: success, type: dict}
"""

LOOK_SECONDS = 2.0  # between two looks


class Work:
    """What the module was asked to do, on one appliance."""

    def __init__(self, module):
        self._module = module
        self._rest = Rest(module)
        self._wanted = module.params["version"]
        self._deadline = time.monotonic() + module.params["seconds"]

    def looked(self):
        """How it stands; nothing is changed."""
        software = self._software()
        if not software["image"]:
            self._fail("this machine was provisioned and is no image: its software comes by playbooks/provision.yml")
        state = _slot(software, software["running"])["state"]
        if state != "good":
            self._fail(
                f"slot {software['running']}, which runs, is {state}; allowed: one that has been seen to run well"
            )
        return False, software

    def written(self):
        """The wanted version runs or is next."""
        _, software = self.looked()
        if self._runs(software) or _slot(software, software["next"])["version"] == self._wanted:
            return False, software
        if self._module.check_mode:
            return True, software
        self._rest.send(self._module.params["bundle"], "software", "bundle")
        order = {"allow_older": self._module.params["allow_older"]}
        self._rest.ask("POST", "software", "update", body=order)
        software = self._until(self._is_done)
        found = _slot(software, software["next"])["version"]
        if found != self._wanted:
            self._fail(f"found the version {found} in the bundle; allowed: {self._wanted}, which was asked for")
        return True, software

    def running(self):
        """The wanted version runs and is well."""
        software = self._software()
        if self._runs(software):
            return False, software
        if _slot(software, software["next"])["version"] != self._wanted:
            self._fail(f"{self._wanted} is not in the slot of the next restart; write it first")
        if self._module.check_mode:
            return True, software
        self._rest.ask("POST", "system", "power", body={"action": "reload"})
        return True, self._until(self._is_well)

    def _runs(self, software):
        return software["version"] == self._wanted and _slot(software, software["running"])["state"] == "good"

    def _software(self):
        return self._rest.ask("GET", "software")

    def _is_done(self, software):
        order = software["order"]
        if order["standing"] == "failed":
            self._fail(f"the update was not written: {order['problem']}")
        return order["standing"] == "done"

    def _is_well(self, software):
        other = [slot for slot in software["slots"] if slot["version"] == self._wanted and slot["state"] == "bad"]
        if other:
            self._fail(
                f"{self._wanted} did not run well; the appliance has gone back to {software['version']} by itself"
            )
        return self._runs(software)

    def _until(self, holds):
        said = "nothing"
        while time.monotonic() < self._deadline:
            try:
                software = self._rest.look("software")
                if holds(software):
                    return software
                said = f"version {software['version']}"
            except Away as error:
                said = str(error)
            except Refused as error:
                if error.status != 503:  # configd is being started
                    raise
                said = str(error)
            time.sleep(LOOK_SECONDS)
        return self._fail(f"not done after {self._module.params['seconds']} seconds; at last: {said}")

    def _fail(self, words):
        self._module.fail_json(msg=words)


def _slot(software, name):
    return next(slot for slot in software["slots"] if slot["name"] == name)


def work(module):
    """Do it; whether anything changed, and how the software stands."""
    bundle = module.params["bundle"]
    if bundle and not Path(bundle).is_file():
        module.fail_json(msg=f"bundle: found no file {bundle}; allowed: an update that images.builder has made")
    return getattr(Work(module), module.params["state"])()


def main():
    """Do it, and say what came of it."""
    spec = {
        "state": {"type": "str", "choices": ["looked", "written", "running"], "default": "looked"},
        "version": {"type": "str"},
        "bundle": {"type": "path"},
        "allow_older": {"type": "bool", "default": False},
        "seconds": {"type": "int", "default": 1800},
    }
    needs = [("state", "written", ("version", "bundle")), ("state", "running", ("version",))]
    run(spec, work, "software", required_if=needs)


if __name__ == "__main__":
    main()
