"""What outlives a loss of power: a file that lies there whole or as it was, and the names in a folder."""

import contextlib
import os
from pathlib import Path

MODE = 0o600


def put(place: Path, data: bytes) -> None:
    """Have `data` lie at `place`, for this account alone, and on the disk when it returns. One writer at a time to one place.
    Raises `OSError`; then what lay there still does."""
    new = place.with_name(f".{place.name}.new")  # whoever lists the folder takes no name that begins with a dot
    try:
        new.unlink(missing_ok=True)  # what a killed predecessor left
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
        with os.fdopen(descriptor, "wb") as target:
            target.write(data)
            target.flush()
            os.fsync(descriptor)
        new.replace(place)
        sync_folder(place.parent)
    except OSError:
        with contextlib.suppress(OSError):  # the first failure is the one to tell
            new.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
