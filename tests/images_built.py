"""What the tests of whole images share: how they are built."""

import sys
from pathlib import Path

from images.paths import REPO
from images.run import run

VERSION = "0.0.1-test"
BUILD_SECONDS = 3_600.0  # minutes on two free cores; a busy machine needs many times that


def playbook(*words: str) -> None:
    """playbooks/build.yml as an operator runs it."""
    program = Path(sys.executable).with_name("ansible-playbook")
    argv: list[str | Path] = [program, "playbooks/build.yml", *(part for word in words for part in ("-e", word))]
    run(argv, cwd=REPO, seconds=BUILD_SECONDS)
