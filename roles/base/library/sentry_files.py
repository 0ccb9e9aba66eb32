#!/usr/bin/python
"""Ansible module: many small files, folders and links of one role, put in place in one call.

A module call costs about a second over SSH, and a role of ours owns dozens of small files; so they travel together.
"""

import grp
import os
import pwd
import shlex
import stat
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
---
module: sentry_files
short_description: Put files, folders and links in place, all in one call
description:
  - Each file is written beside its place, vetted by its checker where it has one, and renamed.
  - Every checker runs before anything is renamed, so a refused file leaves the host as it was.
options:
  files:
    description: What must be there.
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      state:
        description:
          - A file with V(content), a folder, a symbolic link to V(target), or nothing at that path.
          - V(attributes) sets owner and mode of a file whose text is somebody else's; without that file it does nothing.
        type: str
        choices: [file, directory, link, absent, attributes]
        default: file
      content: {description: Text of a file., type: str}
      target: {description: Where a link points., type: str}
      only:
        description: Names of the files a folder may hold; every other file and link in it is removed.
        type: list
        elements: str
      mode: {description: Octal mode of a file (0644 unless told) or folder (0755 unless told)., type: str}
      owner: {description: Account that owns it., type: str, default: root}
      group: {description: Group that owns it., type: str, default: root}
      validate: {description: Checker; the token C(%s) stands for the file to vet., type: str}
author: Sentry
"""

EXAMPLES = r"""
- name: Put the files of this role in place
  sentry_files:
    files:
      - {path: /etc/motd, content: ""}
      - {path: /etc/sudoers.d/sentry, content: "...", mode: "0440", validate: "/usr/sbin/visudo -cf %s"}
"""

RETURN = r"""
paths:
  description: The paths that were changed (or would be, in check mode).
  returned: always
  type: list
  elements: str
"""

SUBOPTIONS = {
    "path": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["file", "directory", "link", "absent", "attributes"], "default": "file"},
    "content": {"type": "str"},
    "target": {"type": "str"},
    "only": {"type": "list", "elements": "str"},
    "mode": {"type": "str"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "validate": {"type": "str"},
}
DEFAULT_MODE = {"file": "0644", "directory": "0755", "attributes": "0644"}


def describe(path):
    """What stands at `path`, in the same words as `wanted` uses; the text only of a regular file."""
    try:
        status = Path(path).lstat()
    except FileNotFoundError:
        return {"state": "absent"}
    if stat.S_ISLNK(status.st_mode):
        return {"state": "link", "target": str(Path(path).readlink())}
    found = {"mode": f"{stat.S_IMODE(status.st_mode):04o}", "uid": status.st_uid, "gid": status.st_gid}
    if stat.S_ISDIR(status.st_mode):
        return {"state": "directory", **found}
    if stat.S_ISREG(status.st_mode):
        return {"state": "file", **found, "content": Path(path).read_bytes().decode("utf-8", "replace")}
    return {"state": "other", **found}


def wanted(item, before, module):
    """What must stand at the item's path, in the words of `describe`."""
    state = item["state"]
    if state == "absent":
        return {"state": state}
    if state == "link":
        return {"state": state, "target": required(item, "target", module)}
    try:
        uid, gid = pwd.getpwnam(item["owner"]).pw_uid, grp.getgrnam(item["group"]).gr_gid
    except KeyError as error:
        if not module.check_mode:
            module.fail_json(msg=f"{item['path']}: {error.args[0]}: make the account or group first")
        uid = gid = -1  # in check mode the account may be one that an earlier task would have made
    mode = f"{int(item['mode'] or DEFAULT_MODE[state], 8):04o}"
    result = {"state": state, "mode": mode, "uid": uid, "gid": gid}
    if state == "attributes":
        return {**before, **result, "state": before["state"]} if before["state"] == "file" else before
    if state == "file":
        result["content"] = required(item, "content", module)
    return result


def required(item, option, module):
    """The option's value; a file without text and a link without target are mistakes of the role."""
    if item[option] is None:
        module.fail_json(msg=f"{item['path']}: state {item['state']} needs '{option}'")
    return item[option]


def clash(before, after):
    """Why the one cannot become the other, or None. A folder is never replaced: what is in it may be somebody's data."""
    if before["state"] in ("directory", "other") and before["state"] != after["state"]:
        return f"found a {before['state']} where a {after['state']} belongs; move it away by hand"
    return None


def stage(item, after, module):
    """Write the text beside its place and let its checker look at it. Returns the temporary path."""
    folder = Path(item["path"]).parent
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        handle, name = tempfile.mkstemp(prefix=".sentry-", dir=folder)
    except OSError as error:
        module.fail_json(msg=f"{item['path']}: cannot be written: {error.strerror}")
    module.add_cleanup_file(name)
    with os.fdopen(handle, "wb") as file:
        file.write(after["content"].encode())
    if item["validate"]:
        argv = [word.replace("%s", name) for word in shlex.split(item["validate"])]
        code, out, err = module.run_command(argv)
        if code != 0:
            module.fail_json(msg=f"{item['path']}: refused by its checker", command=argv, stdout=out, stderr=err)
    return name


def own(path, after):
    """Give the path its owner and mode."""
    os.chown(path, after["uid"], after["gid"])
    Path(path).chmod(int(after["mode"], 8))


def put(item, after, staged):
    """Make what is there what must be there."""
    path = Path(item["path"])
    if after["state"] == "absent":
        path.unlink()
    elif after["state"] == "directory":
        path.mkdir(parents=True, exist_ok=True)
        own(path, after)
    elif after["state"] == "link":
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.sentry-new")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(after["target"])
        temporary.replace(path)
    elif staged is None:
        own(path, after)
    else:
        own(staged, after)
        os.replace(staged, path)  # noqa: PTH105 - both are in one folder, so this is one step; a link is replaced, not followed


def difference(path, before, after):
    """One entry of Ansible's --diff."""
    heads = [{key: side[key] for key in side if key != "content"} for side in (before, after)]
    texts = [f"{head}\n{side.get('content', '')}" for head, side in zip(heads, (before, after), strict=True)]
    return {"before_header": path, "after_header": path, "before": texts[0], "after": texts[1]}


def strangers(item):
    """An item for each file or link that a folder with `only` must not hold. Folders in it are left alone."""
    folder = Path(item["path"])
    if item["only"] is None or not folder.is_dir():
        return []
    extra = sorted(path for path in folder.iterdir() if path.name not in item["only"])
    return [{"path": str(path), "state": "absent"} for path in extra if path.is_symlink() or path.is_file()]


def plan(module):
    """The items that are not yet as they must be: (item, before, after)."""
    todo = []
    items = module.params["files"]
    for item in [*items, *(stranger for folder in items for stranger in strangers(folder))]:
        before = describe(item["path"])
        after = wanted(item, before, module)
        reason = clash(before, after)
        if reason:
            module.fail_json(msg=f"{item['path']}: {reason}")
        if before != after:
            todo.append((item, before, after))
    return todo


def main():
    """Plan, vet, put."""
    os.umask(0o022)  # folders made on the way are everybody's to pass, whatever the log-in session says
    module = AnsibleModule(
        argument_spec={"files": {"type": "list", "elements": "dict", "required": True, "options": SUBOPTIONS}},
        supports_check_mode=True,
    )
    todo = plan(module)
    result = {"changed": bool(todo), "paths": [item["path"] for item, _, _ in todo]}
    if module._diff:  # noqa: SLF001 - how Ansible tells a module that --diff was asked for
        result["diff"] = [difference(item["path"], before, after) for item, before, after in todo]
    if not module.check_mode:
        texts = [after.get("content") != before.get("content") for _, before, after in todo]
        staged = [
            stage(item, after, module) if fresh and after["state"] == "file" else None
            for fresh, (item, _, after) in zip(texts, todo, strict=True)
        ]
        for name, (item, _, after) in zip(staged, todo, strict=True):
            put(item, after, name)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
