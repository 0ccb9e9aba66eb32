"""A file that only its owner may read, written whole or not at all."""

import os
from pathlib import Path

MODE = 0o600


def put(path: Path, text: bytes) -> None:
    """Have this text at this path, on the disk when it returns. Raises `OSError`; then the file is as it was."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)  # of a predecessor that was killed
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE), "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
