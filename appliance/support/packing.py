"""A bundle's file: texts by their names as one compressed archive, the same bytes for the same texts and moment."""

import gzip
import io
import tarfile
import zlib
from collections.abc import Mapping

PART_BYTES = 524_288  # of one text: a log's last lines; the whole of `show tech` is half of it
BUNDLE_BYTES = 4_194_304  # packed; texts of all parts come to a tenth of it
FOLDER = "sentry-support"


def packed(parts: Mapping[str, str], when: float) -> bytes:
    """A tar archive (POSIX.1-2001), compressed by gzip, with one folder. A part beyond `PART_BYTES` loses its beginning, since
    the end is what happened last; a part that no longer fits into `BUNDLE_BYTES` is named instead. Names are plain words."""
    kept = {name: _cut(text) for name, text in parts.items()}
    while len(file := _packed(kept, when)) > BUNDLE_BYTES:
        largest = max(kept, key=lambda name: len(zlib.compress(kept[name].encode(errors="replace"))))
        kept[largest] = f"left out: with it the bundle would be larger than {BUNDLE_BYTES} bytes\n"
    return file


def _cut(text: str) -> str:
    data = text.encode(errors="replace")
    if len(data) <= PART_BYTES:
        return text
    return "(the beginning was left out)\n" + data[-PART_BYTES:].decode(errors="replace")


def _packed(parts: Mapping[str, str], when: float) -> bytes:
    target = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=target, mode="wb", mtime=int(when)) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, text in sorted(parts.items()):
            data = text.encode(errors="replace")
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size, member.mtime, member.mode = len(data), int(when), 0o600
            archive.addfile(member, io.BytesIO(data))
    return target.getvalue()
