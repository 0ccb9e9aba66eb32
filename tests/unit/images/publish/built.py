"""What a build leaves, made small: disks of some MiB, their digests, and a signature over those."""

from pathlib import Path

from images.builder.ship import Shipping, ship
from images.papers import sums
from images.run import run
from images.targets import TARGETS
from images.toolbox import Here
from tests.unit.images import disks

VERSION = "1.2.3"


def folder(place: Path, key: Path | None = None) -> Path:
    """A folder as build/images/1.2.3/ is, signed by `key`, or by a throw-away one."""
    output = place / VERSION
    output.mkdir(parents=True)
    raw = disks.lively(place / f"sentry-{VERSION}.raw")
    for target in ("aws", "azure"):
        ship(TARGETS[target], Shipping(VERSION, raw, output, Here()))
    raw.unlink()
    sums.sign(output, key)
    return output


def unpacked(packed: Path) -> bytes:
    """What zstd makes of it."""
    out = packed.with_suffix(".unpacked")
    run(["zstd", "-q", "-d", packed, "-o", out])
    content = out.read_bytes()
    out.unlink()
    return content


def key_pair(place: Path) -> tuple[Path, Path]:
    """A signing key and its public half."""
    private, public = place / "key.pem", place / "public.pem"
    run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", private])
    run(["openssl", "pkey", "-in", private, "-pubout", "-out", public])
    return private, public
