"""The room as the appliance has it, for the Python that runs this: what the tests run when they are to test compiled modules."""

import importlib.metadata
import shutil
import sys
import tempfile
from pathlib import Path

from images.native.build import COMPILE_SECONDS, DIGEST_DIGITS, PROGRAM
from images.native.modules import ROOM, listed, path_of
from images.paths import Layout
from images.run import run
from images.source import content_digest, room_files

KEEP = 2  # the one in use, and one of another branch


def compiled_here(repo: Path, layout: Layout) -> Path:
    """A folder with the whole room and a compiled module beside each source of the list; made unless kept from before.

    It is for the first place on `sys.path`. What compiles is the mypy of this environment, with this machine's C compiler.
    """
    modules = listed(repo)
    room = {name: content for name, content in room_files(repo).items() if name.startswith(f"{ROOM}/")}
    made_by = f"{sys.version} {importlib.metadata.version('mypy')} {importlib.metadata.version('setuptools')}"
    inputs = {**room, "modules": "\n".join(modules).encode(), "by": made_by.encode(), "program": PROGRAM.read_bytes()}
    final = layout.native / f"host-{content_digest(inputs)[:DIGEST_DIGITS]}"
    if final.is_dir():
        final.touch()
        return final
    layout.native.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="here-", dir=layout.native) as scratch:
        folder = Path(scratch) / "made"
        for name, content in room.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        run([sys.executable, "-P", PROGRAM, folder, *map(path_of, modules)], cwd=folder, seconds=COMPILE_SECONDS)
        folder.rename(final)
    for old in sorted(layout.native.glob("host-*"), key=lambda path: path.stat().st_mtime_ns)[:-KEEP]:
        shutil.rmtree(old)
    return final
