"""`python -m tests.bench.inside ROOT ...`: the step into the tree, as the first process of namespaces of its own."""

import os
import sys
from pathlib import Path

from images.run import run
from tests.bench.tree import INSIDE, RELEASE, REPO

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main(root: Path, arguments: list[str]) -> None:
    """Mount what the run needs, and become it."""
    run(["mount", "--make-rprivate", "/"])
    run(["mount", "--types", "proc", "proc", root / "proc"])
    run(["ip", "link", "set", "lo", "up"])
    run(["mount", "--rbind", "/dev", root / "dev"])
    run(["mount", "--types", "tmpfs", "tmpfs", root / "tmp"])
    run(["mount", "--types", "tmpfs", "tmpfs", root / "run"])
    run(["mount", "--bind", REPO, root / INSIDE.relative_to("/")])
    os.chroot(root)
    os.chdir(INSIDE)
    # The release comes before the checkout, and the working directory, which is the checkout, not at all.
    environment = {"PATH": _PATH, "LC_ALL": "C.UTF-8", "HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"PYTHONPATH": f"{RELEASE}:{RELEASE}/vendor:{INSIDE}", "PYTHONSAFEPATH": "1"}
    os.execve("/usr/bin/python3", ["python3", "-m", "tests.bench.run", *arguments], environment)  # noqa: S606 - no shell


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
