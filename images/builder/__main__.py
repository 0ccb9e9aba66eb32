"""`python -m images.builder --target vm|aws|azure|all`: what playbooks/build.yml runs. Prints the files as one line of JSON."""

import argparse
import errno
import fcntl
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from images.builder.build import build, summary
from images.builder.fate import EndedError, in_order
from images.builder.inputs import BuildError, UpdateKey, asked
from images.disk.stages import StageError
from images.formats.sparse import DiskError
from images.guest import GuestError
from images.native.modules import NativeError
from images.papers.dpkg import PackageError
from images.papers.notes import NotesError
from images.papers.sums import SigningError
from images.paths import Layout
from images.rootfs import TreeError
from images.run import CommandError
from images.seal.seal import SealError
from images.targets import TARGETS
from images.updates.bundle import BundleError
from images.wheels import WheelError

FAILED = 1
INTERRUPTED = 130  # what a shell reports for SIGINT

EXPECTED = (
    BuildError, BundleError, CommandError, DiskError, GuestError, NativeError, NotesError, PackageError, SealError, SigningError,
    StageError, TreeError, WheelError,
)  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Build; an expected failure is one message on standard error and a non-zero code."""
    os.umask(0o022)
    given = _parser().parse_args(argv)
    layout = Layout()
    try:
        update = UpdateKey(given.update_key, given.update_certificate, given.update_authorities)
        wanted = asked(given.target, given.version, given.key, given.scan, update)
        with in_order(given.with_process), _alone(layout), _progress(given.log):
            made = summary(build(wanted, layout))
    except EXPECTED as error:
        return _failed(str(error), given.log)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _failed(f"{error.filename or layout.build}: no space is left; nothing of this build stays", given.log)
    except EndedError as end:
        _failed(f"interrupted ({end}); no guest runs, and nothing of this build stays", given.log)
        return INTERRUPTED
    print(json.dumps(made))
    return 0


def _failed(message: str, log: Path | None) -> int:
    print(f"\nbuild: {message}" + (f"\n(what it did until then is in {log})" if log else ""), file=sys.stderr)
    return FAILED


@contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    """One build at a time; a second one is refused, for it would wait for minutes."""
    home = layout.build / "images"
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BuildError(f"another build runs in {home}") from None
        yield


@contextmanager
def _progress(log: Path | None) -> Iterator[None]:
    """Inside, everything that we and our programs say goes to the log, or to standard error where there is none: the answer
    has standard output for itself."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        os.dup2(target, 2)
        os.close(target)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for place, number in enumerate(kept, 1):
            os.dup2(number, place)
            os.close(number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m images.builder", description=__doc__)
    parser.add_argument("--target", required=True, help=f"{', '.join(TARGETS)}, or all")
    parser.add_argument("--version", help="the version that the files are named by (default: that of pyproject.toml)")
    parser.add_argument(
        "--key", type=Path, help="a private key (PEM) to sign SHA256SUMS with (default: a throw-away one)"
    )
    parser.add_argument("--scan", type=Path, help="results.json of a scan of this very image, for its release notes")
    parser.add_argument(
        "--update-key", type=Path, help="a private key (PEM) to sign the update with (default: a throw-away one)"
    )
    parser.add_argument("--update-certificate", type=Path, help="its certificate, then those up to its authority (PEM)")
    parser.add_argument(
        "--update-authorities", type=Path, help="whom the image believes about updates (PEM; default: that certificate)"
    )
    parser.add_argument("--log", type=Path, help="where the progress goes (default: standard error)")
    parser.add_argument("--with-process", type=int, metavar="PID", help="end, in order, when this process ends")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
