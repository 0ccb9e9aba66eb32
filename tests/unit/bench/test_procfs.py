"""What the kernel says of processes, read."""

import os
from pathlib import Path

import pytest

from tests.bench import procfs

STAT = "4711 ({name}) S 17 4711 4711 0 -1 4194560 1 2 3 4 1200 340 5 6 20 0 3 0 99 1 2"


@pytest.mark.parametrize("name", ["haproxy", "a) R 1 (b", "two words", ")"])
def test_cpu_time_is_found_behind_any_name(name: str) -> None:
    assert procfs.parse_stat(STAT.format(name=name)) == procfs.Stat(parent=17, ticks=1_540)


def test_our_own_processes_are_read() -> None:
    assert procfs.parents()[os.getpid()] == os.getppid()
    before = procfs.cpu_seconds(os.getpid())
    sum(range(3_000_000))
    assert procfs.cpu_seconds(os.getpid()) >= before
    with Path(os.devnull).open() as one, Path(os.devnull).open() as other:
        more = procfs.descriptors(os.getpid())
        assert one.fileno() != other.fileno()
    assert procfs.descriptors(os.getpid()) == more - 2
    assert procfs.pss_bytes([os.getpid()]) > 1_000_000


def test_pss_is_the_whole_process_and_no_part_of_it() -> None:
    text = "5581-7ffc ---p 00000000 00:00 0    [rollup]\nRss:   900 kB\nPss:   812 kB\nPss_Anon:   700 kB\n"
    assert procfs.parse_pss(text) == 812 * 1_024


@pytest.mark.parametrize("text", ["", "Rss: 900 kB\nPss_Anon: 700 kB\n", "Pss: 812 MB\n"])
def test_what_is_no_rollup_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="smaps_rollup"):
        procfs.parse_pss(text)


def test_a_family_has_grandchildren_and_no_strangers() -> None:
    parents = {1: 0, 10: 1, 11: 10, 12: 10, 13: 11, 20: 1, 21: 20}
    assert procfs.family(10, parents) == [10, 11, 12, 13]
    assert procfs.family(20, parents) == [20, 21]
