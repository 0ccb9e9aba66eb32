"""`python -m images.native`: compile the appliance's modules, unless that is done."""

import argparse
import os
import sys
import time
import zipfile
from collections.abc import Sequence

from images.console import say
from images.native import build
from images.native.modules import NativeError
from images.paths import REPO, Layout
from images.rootfs import TreeError
from images.run import CommandError
from images.wheels import WheelError

FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Say what was made; exit code 1 with the reason on stderr when it cannot be."""
    os.umask(0o022)  # the archive is made of it by whoever deploys
    parser = argparse.ArgumentParser(prog="python -m images.native", description="Compile the hot modules.")
    parser.parse_args(arguments)
    began = time.monotonic()
    try:
        files = build.compiled(REPO, Layout())
    except (NativeError, WheelError, TreeError, CommandError, OSError, zipfile.BadZipFile) as error:
        sys.stderr.write(f"native: {error}\n")
        return FAILED
    total = sum(map(len, files.values()))
    say(f"    {len(files)} files, {total // 1000} kB, after {time.monotonic() - began:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
