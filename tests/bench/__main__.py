"""`python -m tests.bench`: make the tree and run in it; the options are those of `tests.bench.run`."""

import sys

from tests.bench.tree import REPO, enter, prepare

if __name__ == "__main__":
    enter(prepare(REPO / "build/bench"), sys.argv[1:])
