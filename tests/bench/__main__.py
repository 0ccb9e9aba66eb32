"""`python -m tests.bench`: make the tree and run in it; the options are those of `tests.bench.run`."""

import sys

from tests.bench.tree import REPO, BusyError, alone, enter, prepare

FOLDER = REPO / "build/bench"

if __name__ == "__main__":
    try:
        alone(FOLDER)
    except BusyError as error:
        sys.exit(f"bench: {error}")
    enter(prepare(FOLDER), sys.argv[1:])
