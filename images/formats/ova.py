"""The OVA (DSP0243 2.0): a tar file that importers read from a pipe, and are strict about.

USTAR and not PAX, whose first member is a head that some take for a file; the descriptor first, then the manifest, then the disk;
a manifest line has no blank before its bracket; no owner, no fraction of a second.
"""

import hashlib
import io
import tarfile
from pathlib import Path

from images.formats.sparse import DiskError

MOST_BYTES = 8 << 30  # a USTAR member's size has eleven octal digits


def write(target: Path, name: str, ovf: bytes, disk: Path, moment: int) -> None:
    """`name`.ovf, its manifest and the disk, all with the time `moment`; a `DiskError` for a disk too large for USTAR."""
    size = disk.stat().st_size
    if size >= MOST_BYTES:
        raise DiskError(f"{disk.name}: has {size} bytes, and a USTAR member at most {MOST_BYTES - 1}")
    with disk.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    listed = manifest({f"{name}.ovf": hashlib.sha256(ovf).hexdigest(), disk.name: digest})
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar, disk.open("rb") as file:
        tar.addfile(_member(f"{name}.ovf", len(ovf), moment), io.BytesIO(ovf))
        tar.addfile(_member(f"{name}.mf", len(listed), moment), io.BytesIO(listed))
        tar.addfile(_member(disk.name, size, moment), file)


def manifest(digests: dict[str, str]) -> bytes:
    """The manifest of these files' SHA-256 digests, in their order."""
    return "".join(f"SHA256({name})= {digest}\n" for name, digest in digests.items()).encode("ascii")


def _member(name: str, size: int, moment: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, moment, 0o644
    return member
