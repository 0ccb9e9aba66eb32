"""An Ansible module as a process: `module_program.py MODULE CONFIGCTL < parameters.json`, as Ansible would start it.

Only the place of sentry-configctl is another one, which on an appliance is fixed.
"""

import importlib.util
import json
import sys
from pathlib import Path

from ansible import module_utils
from ansible.module_utils.testing import patch_module_args


def main(module: Path, configctl: Path) -> None:
    """Run the module with the parameters of standard input; it prints its result."""
    module_utils.__path__.append(str(module.parents[1] / "module_utils"))
    spec = importlib.util.spec_from_file_location(module.stem, module)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    vars(made)["CONFIGCTL"] = configctl
    with patch_module_args(json.load(sys.stdin)):
        made.main()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
