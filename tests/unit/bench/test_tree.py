"""One run at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.tree import BusyError, alone

HOLD = """
import sys
from pathlib import Path
from tests.bench.tree import alone
alone(Path(sys.argv[1]))
print(1, flush=True)
input()
"""


def test_a_second_run_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"1\n"
        with pytest.raises(BusyError, match="another run is at work"):
            alone(tmp_path)
        first.communicate(b"\n")
    alone(tmp_path)
