"""`python compiler.py OUTPUT FILE...`: compile these files, seen from the working directory, into extension modules below OUTPUT.

It runs where the compiled code will: in the appliance's own kind of tree, which has nothing else of this project, or with the
build machine's Python. The same input gives the same bytes. Exit code 1 with mypy's complaints when the types are wrong.
"""

import os
import sys
import tempfile
from pathlib import Path

from mypyc.build import mypycify
from setuptools import setup

LIBRARY = (
    "sentry_runtime"  # all modules share one library, `sentry_runtime__mypyc`, so that they call each other directly
)

TYPES = (
    "--config-file=",  # none: `make check` holds the strict rules; here only what is compiled counts
    "--cache-dir=/dev/null",
    "--explicit-package-bases",
    "--follow-imports=silent",
    "--ignore-missing-imports",  # the libraries are not here, and whatever comes from them is looked at when it runs
)
# What Debian builds its own packages with (dpkg-buildflags), and all symbols bound before the first request.
COMPILE = (
    "-fstack-protector-strong",
    "-fstack-clash-protection",
    "-fcf-protection",  # Debian's libraries are not, so no kernel enforces it yet
    "-U_FORTIFY_SOURCE",
    "-D_FORTIFY_SOURCE=3",
    "-fvisibility=hidden",  # calls within the library need no look-up
)
LINK = ("-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack")


def main(output: Path, files: list[str]) -> None:
    """Compile; the places in OUTPUT are those of the files."""
    os.environ["LDFLAGS"] = " ".join(LINK)
    with tempfile.TemporaryDirectory() as scratch:
        # The scratch folder has another name each time, and the C compiler keeps names.
        os.environ["CFLAGS"] = " ".join((*COMPILE, f"-ffile-prefix-map={scratch}=."))
        modules = mypycify([*TYPES, *files], opt_level="2", debug_level="0", target_dir=scratch, group_name=LIBRARY)
        setup(
            name=LIBRARY,
            packages=[],
            ext_modules=modules,
            script_args=["--quiet", "build_ext", f"--build-lib={output}", f"--build-temp={scratch}"],
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
