"""The CLI outlives what it is connected to: it says what is gone, and no signal ends it."""

import subprocess
import sys

from tests.unit.appliance.cli.desk import ENVIRONMENT, PROGRAM, WAIT_SECONDS, Configd, Running


def test_a_configd_that_went_away_between_two_lines_is_an_error_that_is_said(configd: Configd, server: Running) -> None:
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), str(configd.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        shell.stdin.write("show version\n")
        shell.stdin.flush()
        assert shell.stdout.readline()
        server.stop()
        _, said = shell.communicate("show version\n", timeout=WAIT_SECONDS)
    assert shell.returncode == 1
    assert "Line 2" in said
    assert "configd" in said


def test_a_reader_that_stops_reading_ends_the_command_without_a_word(configd: Configd) -> None:
    argv = [sys.executable, str(PROGRAM), str(configd.path), "-c", "show version"]
    configd.free.clear()
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as shell:
        assert configd.busy.wait(WAIT_SECONDS)
        assert shell.stdout is not None
        shell.stdout.close()
        configd.free.set()
        assert shell.stderr is not None
        said = shell.stderr.read()
        assert shell.wait(WAIT_SECONDS) == 1
    assert said == ""
