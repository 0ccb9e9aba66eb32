"""Run by test_accounts.py in a mount namespace: puts the folder named in its argument over /etc and reconciles for real."""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))  # the checkout, as the test that starts us says

from appliance import process
from appliance.features.accounts import reconcile
from appliance.system import Appliance


def _reveal(reference: str) -> str:
    return f"$6${reference.removeprefix('secret:')}"


def _tree(**held: dict[str, str]) -> dict[str, object]:
    return {
        "users": {"accounts": held, "password_policy": {"change_hours": 24, "lifetime_days": 60, "inactive_days": 35}}
    }


def main() -> None:
    """Make, leave, change and remove accounts; print what each step says of itself."""
    subprocess.run(["mount", "--bind", sys.argv[1], "/etc"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    system = Appliance(_reveal, run=process.run)
    first = _tree(ada={"full_name": "Ada", "password_hash": "secret:first"}, maria={"full_name": ""})
    second = _tree(ada={"full_name": "Ada Two", "password_hash": "secret:second"}, maria={"full_name": ""})
    last = _tree(ada={"full_name": "Ada Two", "password_hash": "secret:second"})
    for tree in (first, first, second, last, last):
        sys.stdout.write(f"{reconcile(tree, system)}\n")


main()
