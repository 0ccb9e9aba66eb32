"""The one way this room starts a process."""

import pytest

from images.run import CommandError, run, stream


def test_what_a_command_prints_is_returned() -> None:
    """Standard output, standard error and the code come back apart."""
    done = run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert (done.stdout, done.stderr, done.code) == ("out\n", "err\n", 3)


def test_a_failing_command_is_shown_ready_to_be_pasted() -> None:
    """The message quotes what a shell would split, and ends with what the command printed."""
    with pytest.raises(CommandError) as failed:
        run(["sh", "-c", "echo what went wrong; exit 7"])
    assert "ended with code 7" in str(failed.value)
    assert "sh -c 'echo what went wrong; exit 7'" in str(failed.value)
    assert str(failed.value).endswith("    what went wrong")


def test_a_command_that_is_not_there_is_named() -> None:
    """A missing program is an error of ours, not a stack trace."""
    with pytest.raises(CommandError, match=r"cannot be started.*\n.*no-such-program --flag"):
        run(["no-such-program", "--flag"])


def test_a_command_that_takes_too_long_is_ended() -> None:
    """The time-out names its seconds and the command."""
    with pytest.raises(CommandError, match=r"did not end within 0.2 s:\n  sleep 30"):
        run(["sleep", "30"], seconds=0.2)


def test_a_command_reads_what_it_is_given_and_else_nothing() -> None:
    """Without `stdin` a command sees an empty one, never the terminal."""
    assert run(["cat"], stdin="given").stdout == "given"
    assert run(["cat"]).stdout == ""


def test_streaming_shows_the_output_and_fails_like_run(capfd: pytest.CaptureFixture[str]) -> None:
    """Progress goes straight through; the error names the command."""
    with pytest.raises(CommandError, match="ended with code 5"):
        stream(["sh", "-c", "echo progress; exit 5"])
    assert capfd.readouterr().out == "progress\n"
