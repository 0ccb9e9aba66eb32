"""Wheels of a throw-away project, and the lock that has their hashes."""

import io
import zipfile

LOCK = """\
httpcore==1.0 \\
    --hash=sha256:{other}
httptools==0.6.4 \\
    --hash=sha256:{other} \\
    --hash=sha256:{hash}
    # via -r requirements.in
idna==3 \\
    --hash=sha256:{other}
"""
OTHER = "0" * 64


def wheel_bytes(*names: str) -> bytes:
    """A wheel with files of these names."""
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        for name in names:
            archive.writestr(name, f"content of {name}")
    return raw.getvalue()
