#!/usr/bin/python
"""Ansible module: remove the releases that nobody goes back to."""

import re
import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
---
module: sentry_releases
short_description: Keep the release in use and the one about to be used, remove the others
description:
  - To be called after a release is unpacked and before C(current) points to it; what C(current) points to then is the
    previous release. When both are the same there is no telling which is the previous one, and nothing is removed.
  - A release is a folder named by its digest. Everything else in the folder is left alone.
options:
  folder: {description: Where the releases are., type: path, required: true}
  digest: {description: The release that is about to be used., type: str, required: true}
author: Sentry
"""

EXAMPLES = r"""
- name: Remove the releases before the previous one
  sentry_releases:
    folder: /usr/lib/sentry
    digest: 5cf18311fbb8f21c
"""

RETURN = r"""
removed:
  description: The names of the releases that were removed (or would be, in check mode).
  returned: always
  type: list
  elements: str
"""

DIGEST = re.compile(r"[0-9a-f]{16}")  # how images/source.py names a release


def surplus(folder, digest):
    """The releases that are neither `digest` nor what `current` points to; none when that is one and the same."""
    current = folder / "current"
    if not current.is_symlink():
        return []
    used = current.readlink().name
    if used == digest:
        return []
    found = (
        path for path in folder.iterdir() if DIGEST.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    )
    return sorted(path for path in found if path.name not in (digest, used))


def main():
    """Look, remove."""
    options = {"folder": {"type": "path", "required": True}, "digest": {"type": "str", "required": True}}
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    digest = module.params["digest"]
    if not DIGEST.fullmatch(digest):
        module.fail_json(msg=f"digest: found {digest!r}; a release is named by 16 hexadecimal digits")
    folder = Path(module.params["folder"])
    removed = surplus(folder, digest) if folder.is_dir() else []
    if not module.check_mode:
        for path in removed:
            shutil.rmtree(path)
    module.exit_json(changed=bool(removed), removed=[path.name for path in removed])


if __name__ == "__main__":
    main()
