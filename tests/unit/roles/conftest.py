"""Runs an Ansible module of ours as Ansible does: a process that reads its arguments as JSON and answers in JSON."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[3]
Module = Callable[..., dict[str, Any]]
PROFILE = "legacy"  # the serialisation profile of Ansible's own fallback; plain JSON in and out


@pytest.fixture
def module(tmp_path: Path) -> Module:
    """Calls the module file with arguments; `check` and `diff` are Ansible's --check and --diff."""

    def call(path: str, *, check: bool = False, diff: bool = False, **arguments: Any) -> dict[str, Any]:
        settings = {"_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_remote_tmp": str(tmp_path)}
        starter = (
            "import sys, runpy; from ansible.module_utils import basic; "
            f"basic._ANSIBLE_ARGS = sys.stdin.buffer.read(); basic._ANSIBLE_PROFILE = {PROFILE!r}; "
            f"runpy.run_path({str(REPO / path)!r}, run_name='__main__')"
        )
        given = json.dumps({"ANSIBLE_MODULE_ARGS": {**settings, **arguments}})
        ended = subprocess.run(
            [sys.executable, "-c", starter], input=given, capture_output=True, text=True, check=False
        )
        assert ended.stdout, ended.stderr
        answer: dict[str, Any] = json.loads(ended.stdout)
        return answer

    return call
