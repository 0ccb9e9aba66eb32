"""A commit on a disk that is full, in a mount namespace of one's own: `full_disk_program.py FOLDER` mounts a small file system
there and prints, for each amount of free room, what became of the commit."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from appliance import render
from appliance.config.secrets import SecretError
from appliance.config.store import StoreError
from appliance.plan import InvalidError
from appliance.vet import ApplyError
from tests.unit.appliance.config.killed_program import FIRST, SECOND
from tests.unit.appliance.workbench import Bench

SIZE_KIB = 4_096
PAGE_KIB = 4
ROOM_KIB = (
    0,
    4,
    8,
    12,
    16,
    20,
    24,
    32,
    48,
    64,
    512,
    1_000,
    1_024,
    1_028,
    1_032,
    1_040,
    1_056,
    1_072,
    1_088,
    1_104,
    1_120,
    1_200,
    1_500,
)
"""What is left free; from `store.RESERVE_BYTES` on a commit may begin."""


def fill(folder: Path, leave_kib: int) -> Path:
    """Fill the disk but for so much."""
    place = folder / "filler"
    with place.open("wb") as filler:
        state = os.statvfs(folder)
        for _ in range(state.f_bavail * state.f_frsize // 1_024 // PAGE_KIB - leave_kib // PAGE_KIB):
            filler.write(bytes(PAGE_KIB * 1_024))
    return place


def in_step(bench: Bench) -> bool:
    """Whether files, kernel and revisions are those of one revision."""
    wanted = render.render_all(bench.running(), bench.features)
    files = bench.files() == {path: (file.text, file.mode) for path, file in wanted.items()}
    return files and bench.commands.kernel_name == bench.running()["name"] and bench.store.journal() is None


def attempt(bench: Bench, tree: dict[str, Any]) -> str:
    """Commit; empty, or why not."""
    try:
        bench.commit(tree, confirm_minutes=5)
    except (ApplyError, StoreError, SecretError, InvalidError) as error:
        return str(error)
    return ""


def main(folder: Path) -> None:
    """One line for each amount of room: how much, the running name, whether all is in step, and the error."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_KIB}k", "none", str(folder)], check=True)
    for room in ROOM_KIB:
        box = folder / "box"
        bench = Bench(box)
        bench.commit(FIRST)
        filler = fill(folder, room)
        said = attempt(bench, SECOND)
        full = in_step(bench)
        sys.stdout.write(f"{room}\t{bench.running()['name']}\t{full}\t{said}\n")
        filler.unlink()
        if not said:
            bench.engine.confirm("tester")
        assert not attempt(bench, {**SECOND, "name": "third"}), "with room again it goes on"
        subprocess.run(["rm", "-rf", str(box)], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
