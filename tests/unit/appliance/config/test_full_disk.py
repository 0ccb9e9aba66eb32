"""A full disk: the commit is refused with the file and the reason, the old revision stands, and with room again it goes on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.appliance.config.full_disk_program import ROOM_KIB

REPO = Path(__file__).parents[4]
PROGRAM = Path(__file__).with_name("full_disk_program.py")


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount")
def test_with_any_amount_of_room_left_it_is_the_old_revision_or_the_new_one(tmp_path: Path) -> None:
    """On a real file system of 4 MiB, from not a page free to enough."""
    argv = ["unshare", "--mount", "--propagation", "private", sys.executable, "-B", str(PROGRAM), str(tmp_path)]
    done = subprocess.run(
        argv, cwd=REPO, env={**os.environ, "PYTHONPATH": str(REPO)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [int(row[0]) for row in rows] == list(ROOM_KIB)
    for room, name, whole, said in rows:
        assert whole == "True", (room, said)
        assert (name == "other") == (said == ""), (room, said)
        assert not said or "No space left on device" in said, (room, said)
        assert "could NOT" not in said, (room, said)
    assert {name for _room, name, _whole, _said in rows} == {"box", "other"}
    assert len({said for _room, _name, _whole, said in rows}) >= 4  # it failed at several places
