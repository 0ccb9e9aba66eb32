"""The program that the units run, as a process of its own."""

import io
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from appliance.audit import FIELD_CHARACTERS, Entry, StreamAudit
from appliance.software.__main__ import WORDS

REPO = Path(__file__).parents[4]


@pytest.mark.parametrize("word", sorted(set(WORDS) - {"healthy"}))
def test_on_a_machine_that_is_no_image_a_word_fails_and_says_why_once_for_people_and_once_for_the_trail(
    word: str,
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "appliance.software", word],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "it is no image" in done.stderr
    entry = msgspec.json.decode(done.stdout, type=Entry)
    assert (entry.event, entry.result) == ("software.failed", "error")
    assert "it is no image" in entry.detail


@pytest.mark.parametrize("words", [[], ["update"], ["verify", "/dev/sda"], ["carry-out; reboot"]])
def test_it_takes_one_word_of_its_own_and_nothing_else(words: list[str]) -> None:
    argv = [sys.executable, "-m", "appliance.software", *words]
    done = subprocess.run(argv, cwd=REPO, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")


def test_a_line_of_the_trail_is_one_line_however_long_and_whatever_is_in_it() -> None:
    stream = io.StringIO()
    StreamAudit(stream).write(Entry(time="t", event="software.good", user="u", detail="a\nb" * 1_000))
    (line,) = stream.getvalue().splitlines()
    assert len(msgspec.json.decode(line, type=Entry).detail) == FIELD_CHARACTERS
