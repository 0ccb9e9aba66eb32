#!/usr/bin/python
"""Ansible module: the appliance's configuration becomes the given tree, through the appliance's own configuration manager."""

import json
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sentry_rest import ARGUMENTS, TOGETHER, Refused, Rest

DOCUMENTATION = r"""
---
module: appliance_config
short_description: Commit a configuration tree on an appliance
description:
  - Hands the tree to C(sentry-configctl) on standard input; it is validated, rendered, vetted, applied and, when anything
    fails, rolled back there. The tree is never written to a file and never appears in an argument or a log.
  - Waits until the ports that must answer do.
  - With O(url) it speaks to the appliance's REST API instead, from wherever it runs, and needs no account on the appliance.
options:
  url:
    description: The appliance's REST API, such as V(https://gw1.example.test:8443); the module then runs on the controller.
    type: str
  token:
    description: A token with the scopes C(read) and C(configure); C(accounts), too, where it changes who gets in.
    type: str
  ca:
    description: The file of the authority that the appliance's certificate is verified by; without it the system's are taken.
    type: path
  enable_secret:
    description: The enable secret, where the tree changes who gets in and the token has not the scope C(accounts).
    type: str
  tree:
    description: The whole tree as JSON text; secrets are in it. What it does not have goes back to its default.
    type: str
  settings:
    description:
      - A part of a tree as JSON text, laid over O(tree), or over what runs where there is no O(tree). Groups and named
        instances are merged, anything else is replaced, and C(null) takes a setting back.
      - Keys are those of docs/configuration.md.
    type: str
  state:
    description:
      - V(committed) commits the tree.
      - V(confirmed) keeps the commit that waits for confirmation, if one does.
    type: str
    choices: [committed, confirmed]
    default: committed
  comment:
    description: Stands with the revision.
    type: str
    default: ansible
  confirm_minutes:
    description: The appliance rolls back by itself unless the commit is confirmed in this time.
    type: int
  answering:
    description: TCP ports that must answer afterwards, on the address they are bound to.
    type: list
    elements: int
    default: []
  timeout:
    description: Seconds to wait for them.
    type: int
    default: 60
author: Sentry
"""

EXAMPLES = r"""
- name: Apply the site configuration
  appliance_config:
    tree: "{{ site_tree }}"
    answering: [22, 443, 8443]

- name: Change two settings, and return to what was unless the next task gets through
  appliance_config:
    settings: "{{ {'cli': {'idle_minutes': 5}, 'banner': {'text': null}} | to_json }}"
    confirm_minutes: 5

- name: Keep them
  appliance_config:
    state: confirmed

- name: The same without an account on the appliance
  appliance_config:
    url: https://gw1.example.test:8443
    token: "{{ vault_sentry_token }}"
    ca: files/site-ca.pem
    settings: "{{ {'ntp': {'servers': ['192.0.2.1', '192.0.2.3']}} | to_json }}"
  delegate_to: localhost
  become: false
"""

RETURN = r"""
revision: {description: Number of the running revision., returned: success, type: int}
changes: {description: What was different; secrets are masked., returned: success, type: list, elements: dict}
files: {description: Files that were rendered anew., returned: success, type: list, elements: str}
units: {description: Units that took notice., returned: success, type: list, elements: str}
confirm_by: {description: Until when the commit must be confirmed; empty where it need not., returned: success, type: str}
"""

CONFIGCTL = Path("/usr/lib/sentry/bin/sentry-configctl")
LISTEN = "0A"  # the state's number in /proc/net/tcp
CONNECT_SECONDS = 3.0
POLL_SECONDS = 0.2  # how often the ports are looked at; a service takes about a second to start


def ask(module, *words):
    """What sentry-configctl says, read as JSON."""
    code, out, err = module.run_command([str(CONFIGCTL), *words])
    if code != 0:
        module.fail_json(msg=f"The appliance does not answer `{' '.join(words)}`.\n{err.strip()}", rc=code)
    return json.loads(out)


def read(module, name):
    """An option that holds JSON text; what is wrong with it is said without repeating it."""
    try:
        found = json.loads(module.params[name])
    except ValueError as error:
        module.fail_json(msg=f"`{name}` is not JSON: {error.msg} in line {error.lineno}, column {error.colno}")
    if not isinstance(found, dict):
        module.fail_json(msg=f"`{name}` must be an object, with the keys of docs/configuration.md")
    return found


def merged(tree, settings):
    """`settings` laid over `tree`: groups one by one, anything else whole, None takes a setting back."""
    made = dict(tree)
    for key, value in settings.items():
        if value is None:
            made.pop(key, None)
        elif isinstance(value, dict):
            made[key] = merged(made[key] if isinstance(made.get(key), dict) else {}, value)
        else:
            made[key] = value
    return made


def wanted(module):
    """The whole tree as JSON text. Secrets of what runs are masks in it, which configd takes for what they were."""
    if not module.params["settings"]:
        return module.params["tree"]
    tree = read(module, "tree") if module.params["tree"] else ask(module, "get")
    return json.dumps(merged(tree, read(module, "settings")))


def confirm(module):
    """Keep the commit that waits; says whether one did."""
    rest = Rest(module) if module.params["url"] else None
    found = rest.ask("GET", "facts", "confirmation") if rest else ask(module, "show", "confirmation")
    waits = dict(found["facts"])["waiting"] != "no"
    if waits and not module.check_mode:
        if rest:
            rest.ask("POST", "config", "confirm")
        else:
            ask(module, "confirm")
    return waits


def commit_by_rest(module):
    """Hand the tree, or the part of one, over in one request; returns what configd answered."""
    query = {"comment": module.params["comment"], "check_only": "true" if module.check_mode else "false"}
    if module.params["confirm_minutes"] is not None:
        query["confirm_minutes"] = module.params["confirm_minutes"]
    rest = Rest(module)
    if not module.params["tree"]:
        kind = "application/merge-patch+json"
        return rest.ask("PATCH", "config", query=query, body=read(module, "settings"), kind=kind)
    tree = read(module, "tree")
    if module.params["settings"]:
        tree = merged(tree, read(module, "settings"))
    return rest.ask("PUT", "config", query=query, body=tree)


def commit(module):
    """Hand the tree over; returns what configd answered."""
    argv = [str(CONFIGCTL), "apply", "--comment", module.params["comment"]]
    if module.check_mode:
        argv.append("--check")
    if module.params["confirm_minutes"] is not None:
        argv += ["--confirm", str(module.params["confirm_minutes"])]
    code, out, err = module.run_command(argv, data=wanted(module))
    if code != 0:
        module.fail_json(msg=f"The appliance refused the configuration; the one before stands.\n{err.strip()}", rc=code)
    return json.loads(out)


def difference(changes):
    """Ansible's --diff: one line per changed setting."""

    def side(name):
        rows = ((".".join(change["path"]), change[name]) for change in changes if change.get(name) is not None)
        return "".join(f"{path}: {json.dumps(value)}\n" for path, value in rows)

    return {"before_header": "running", "after_header": "site", "before": side("before"), "after": side("after")}


def address(words):
    """The address of a row of /proc/net/tcp or tcp6: 32-bit words in the machine's (little-endian) order, in hexadecimal."""
    packed = b"".join(bytes.fromhex(words[at : at + 8])[::-1] for at in range(0, len(words), 8))
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    if not any(packed):
        return "127.0.0.1" if family == socket.AF_INET else "::1"
    return socket.inet_ntop(family, packed)


def listeners():
    """Every (address, port) on which somebody listens."""
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        rows = [line.split() for line in table.read_text(encoding="ascii").splitlines()[1:]] if table.exists() else []
        local = (row[1].split(":") for row in rows if row[3] == LISTEN)
        found.update((address(words), int(port, 16)) for words, port in local)
    return found


def answers(port, host=""):
    """Somebody takes a connection on that port: of this machine, or of the appliance that `host` names."""
    for where in [host] if host else [one for one, bound in listeners() if bound == port]:
        try:
            socket.create_connection((where, port), CONNECT_SECONDS).close()
        except OSError:
            continue
        return True
    return False


def wait(module):
    """Wait for the ports; fails with the ones that stay silent."""
    silent = module.params["answering"]
    until = time.monotonic() + module.params["timeout"]
    host = urlsplit(module.params["url"]).hostname if module.params["url"] else ""
    while silent := [port for port in silent if not answers(port, host)]:
        if time.monotonic() > until:
            ports = ", ".join(map(str, silent))
            module.fail_json(
                msg=f"The configuration stands, but nothing answers on port {ports} after {module.params['timeout']} s; "
                "`systemctl --failed` and the journal of sentry-gateway, sentry-portal and ssh say why"
            )
        time.sleep(POLL_SECONDS)


def main():
    """Commit, then wait."""
    module = AnsibleModule(
        argument_spec={
            "tree": {"type": "str", "no_log": True},
            "settings": {"type": "str", "no_log": True},
            "state": {"type": "str", "choices": ["committed", "confirmed"], "default": "committed"},
            "comment": {"type": "str", "default": "ansible"},
            "confirm_minutes": {"type": "int"},
            "answering": {"type": "list", "elements": "int", "default": []},
            "timeout": {"type": "int", "default": 60},
            **ARGUMENTS,
        },
        required_together=TOGETHER,
        required_if=[("state", "committed", ("tree", "settings"), True)],
        supports_check_mode=True,
    )
    try:
        if module.params["state"] == "confirmed":
            module.exit_json(changed=confirm(module))
        if module.check_mode and not module.params["url"] and not CONFIGCTL.exists():
            module.exit_json(changed=True, revision=0, changes=[], files=[], units=[])
        done = commit_by_rest(module) if module.params["url"] else commit(module)
    except Refused as error:
        module.fail_json(
            msg=f"The appliance refused the configuration; the one before stands.\n{error}", status=error.status
        )
    if not module.check_mode:
        wait(module)
    changes = done.get("changes", [])
    result = {"revision": done["revision"], "changes": changes, "files": done["files"], "units": done["units"]}
    result["confirm_by"] = done.get("confirm_by", "")
    if module._diff:  # noqa: SLF001 - how Ansible tells a module that --diff was asked for
        result["diff"] = difference(changes)
    module.exit_json(changed=done["changed"], **result)


if __name__ == "__main__":
    main()
