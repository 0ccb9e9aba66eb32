"""The two formats that a program of Debian's writes: qcow2 by qemu-img, and any file packed by zstd."""

from pathlib import Path

from images.toolbox import Tools

ZSTD_LEVEL = "9"  # a tenth larger than at 19, and made in seconds


def qcow2(raw: Path, target: Path, tools: Tools) -> None:
    """The raw disk as a compressed qcow2; written in the order of the disk, so that it is the same each time."""
    argv = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compat=1.1,lazy_refcounts=off", "-m", "1"]
    tools.run([*argv, str(raw), str(target)], sees=(raw.parent,), makes=(target.parent,))


def zstd(source: Path, target: Path, tools: Tools) -> None:
    """A file packed by zstd: how many processors work on it makes no difference to what comes out."""
    argv = ["zstd", "--quiet", "--force", f"-{ZSTD_LEVEL}", "--threads=0", "--check", str(source), "-o", str(target)]
    tools.run(argv, sees=(source.parent,), makes=(target.parent,))
