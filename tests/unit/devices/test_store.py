"""The device list on disk: order, modes, bounds, atomicity, and what a kill -9 leaves."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentry_runtime.devices.enforcement import Directive, Enforcement, applies
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State
from sentry_runtime.devices.store import (
    DEVICE_ID_BYTES,
    PRINCIPAL_BYTES,
    EntryUnreadableError,
    Reader,
    Saying,
    StoreError,
    StoreFullError,
    Writer,
    encode_key,
    fits,
)
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy, digest
from tests.unit.devices.writing_child import KEYS

ANNA = DeviceKey("C1", "anna@lab.test")
BERT = DeviceKey("C1", "bert@lab.test")
LONGER = DeviceKey("C10", "anna@lab.test")
STRICT, LAX = Policy(device_password_enabled=True, min_device_password_length=8), Policy()
SAYS = DeviceInformation(model="iPhone10C1", friendly_name="Ännchen")


def allowed(key: DeviceKey, version: int = 1) -> Record:
    """An entry."""
    return Record(key=key, state=State.ALLOWED, version=version)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Writer]:
    """A new list."""
    writer = Writer(tmp_path)
    yield writer
    writer.close()


keys = st.builds(DeviceKey, st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8)).filter(fits)


@given(keys, keys)
def test_keys_have_distinct_encodings_in_their_own_order(one: DeviceKey, other: DeviceKey) -> None:
    """Two keys never meet in one entry, and a page by bytes is a page by (device id, principal)."""
    assert (encode_key(one) == encode_key(other)) == (one == other)
    assert (encode_key(one) < encode_key(other)) == (one < other)


@pytest.mark.parametrize(
    ("device_id", "principal"),
    [
        ("", "anna"),
        ("C1", ""),
        ("C\0001", "anna"),
        ("C1", "an\0na"),
        ("C" * (DEVICE_ID_BYTES + 1), "anna"),
        ("C1", "a" * (PRINCIPAL_BYTES + 1)),
        ("C1", "ä" * (PRINCIPAL_BYTES // 2 + 1)),
        ("C1", "\ud800"),
    ],
)
def test_a_key_beyond_the_bounds_is_refused_by_the_writer_and_unknown_to_the_reader(
    tmp_path: Path, device_id: str, principal: str
) -> None:
    """Nothing is cut to fit: two devices would become one."""
    key = DeviceKey(device_id, principal)
    writer = Writer(tmp_path)
    with pytest.raises(ValueError, match="a device id of 1 to 64 bytes and a principal of 1 to 320 bytes"):
        writer.put([allowed(ANNA), allowed(key)])
    assert writer.iterate() == []
    writer.close()
    reader = Reader(tmp_path)
    assert reader.get(key) is None
    reader.close()


def test_the_longest_key_fits_into_lmdb(store: Writer) -> None:
    """The bounds leave room for the marks under LMDB's 511 bytes, for an entry and for the note of its removal."""
    longest = DeviceKey("C" * DEVICE_ID_BYTES, "a" * PRINCIPAL_BYTES)
    store.put([allowed(longest)])
    assert store.get(longest) == allowed(longest)
    store.write(removed_at=[(longest, 9)])
    assert (store.get(longest), store.removed_at(longest)) == (None, 9)


def test_a_record_comes_back_as_it_was_written(store: Writer) -> None:
    """Every field survives."""
    record = Record(
        key=ANNA,
        state=State.BLOCKED,
        version=2**53 - 1,
        reasons=(Reason.MANUAL, Reason.OS_VERSION),
        device_type="iPhone",
        registered=True,
        provisional=True,
        first_seen=1,
        updated=2,
        note="Grüße",
        policy=digest(STRICT),
        policy_before=b"",
    )
    store.put([record])
    assert store.get(ANNA) == record


def test_a_policy_is_kept_once_beside_the_entries_that_name_it(tmp_path: Path) -> None:
    """And read by its digest, by both sides, until it is forgotten; it is in no page of entries."""
    store = Writer(tmp_path)
    assert (store.policy(digest(STRICT)), store.policy(b"")) == (None, None)
    store.write(policies=[STRICT, STRICT, LAX], put=[allowed(ANNA)])
    reader = Reader(tmp_path)
    assert reader.has_policies()
    assert [reader.policy(digest(one)) for one in (STRICT, LAX)] == [STRICT, LAX]
    assert store.policy(digest(STRICT)) == STRICT
    assert [record.key for record in store.iterate()] == [ANNA]
    store.write(forget=[digest(STRICT), digest(LAX)])
    assert (reader.policy(digest(STRICT)), reader.has_policies()) == (None, False)
    reader.close()
    store.close()


def test_what_a_device_says_goes_with_its_entry(store: Writer) -> None:
    """However that goes."""
    keys = [ANNA, BERT, LONGER]
    store.write(put=map(allowed, keys), says={key: Saying(SAYS) for key in keys})
    assert dict(store.sayings()) == {key: Saying(SAYS) for key in keys}
    store.write(says={ANNA: Saying(SAYS, told=True)})
    assert [store.said(key) for key in keys] == [Saying(SAYS, told=True), Saying(SAYS), Saying(SAYS)]
    store.remove([BERT])
    store.write(remove=[LONGER], removed_at=[(LONGER, 3)])
    assert dict(store.sayings()) == {ANNA: Saying(SAYS, told=True)}
    assert (store.said(BERT), store.said(LONGER)) == (None, None)


def test_the_longest_key_may_say_something(store: Writer) -> None:
    """Its mark is longer than that of a removal."""
    longest = DeviceKey("C" * DEVICE_ID_BYTES, "a" * PRINCIPAL_BYTES)
    store.write(put=[allowed(longest)], says={longest: Saying(SAYS)})
    assert store.said(longest) == Saying(SAYS)


def test_a_list_from_before_there_were_policies_is_read(tmp_path: Path) -> None:
    """Its entries name none, and had none before."""
    store = Writer(tmp_path)
    with store._env.begin(write=True) as txn:
        old = {"key": {"device_id": "C1", "principal": "anna@lab.test"}, "state": "allowed", "version": 3}
        txn.put(encode_key(ANNA), msgspec.msgpack.encode(old))
    found = store.get(ANNA)
    assert found is not None
    assert (found.version, found.policy, found.policy_before) == (3, b"", None)
    store.close()


def test_pages_go_through_the_list_once_in_key_order_and_leave_the_cursor_and_removals_out(store: Writer) -> None:
    """A page begins behind its `after`, whether that entry is still there or not."""
    store.write(put=[allowed(LONGER), allowed(BERT), allowed(ANNA)], removed_at=[(DeviceKey("A", "a"), 7)], cursor=5)
    assert [record.key for record in store.iterate(limit=2)] == [ANNA, BERT]
    assert [record.key for record in store.iterate(BERT, 2)] == [LONGER]
    store.remove([BERT])
    assert [record.key for record in store.iterate(BERT, 2)] == [LONGER]
    assert store.iterate(LONGER, 2) == []


def test_a_devices_entries_are_those_of_exactly_this_id(store: Writer) -> None:
    """C1 is not C10, and an impossible id has no entries."""
    store.put([allowed(LONGER), allowed(BERT), allowed(ANNA)])
    assert [record.key for record in store.of_device("C1")] == [ANNA, BERT]
    assert store.of_device("C") == []
    assert store.of_device("") == []


def test_a_removal_is_remembered_until_the_entry_returns_or_the_cursor_passes(store: Writer) -> None:
    """So that late news of a removed device can be told from new news."""
    store.write(put=[allowed(ANNA)], removed_at=[(BERT, 7), (LONGER, 9)])
    store.write(put=[allowed(BERT, 8)], cursor=8)
    assert (store.removed_at(BERT), store.removed_at(LONGER)) == (0, 9)
    store.write(cursor=9)
    assert store.removed_at(LONGER) == 0


def test_the_cursor_and_the_records_it_stands_for_are_written_together_or_not_at_all(store: Writer) -> None:
    """A refused write moves nothing."""
    store.write(put=[allowed(ANNA)], cursor=3)
    with pytest.raises(ValueError, match="without NUL"):
        store.write(put=[allowed(BERT), allowed(DeviceKey("C\0", "x"))], remove=[ANNA], cursor=4)
    assert (store.cursor, store.iterate()) == (3, [allowed(ANNA)])


def test_a_full_list_says_so_and_keeps_what_it_had(tmp_path: Path) -> None:
    """The map is bounded; the write that does not fit is refused whole."""
    store = Writer(tmp_path, map_bytes=131_072)
    store.write(put=[allowed(ANNA)], cursor=1)
    big = [Record(key=DeviceKey(f"D{n}", "x"), state=State.ALLOWED, version=2, note="n" * 200) for n in range(2_000)]
    with pytest.raises(StoreFullError, match="outgrown its 131072 bytes"):
        store.write(put=big, cursor=2)
    assert (store.cursor, store.iterate()) == (1, [allowed(ANNA)])
    store.put([allowed(BERT)])
    assert store.get(BERT) == allowed(BERT)
    store.close()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_files_have_their_modes_whatever_the_umask_is(tmp_path: Path, umask: int) -> None:
    """The group reads data.mdb and writes lock.mdb; the rest of the world does neither."""
    before = os.umask(umask)
    try:
        Writer(tmp_path).close()
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"data.mdb": 0o640, "lock.mdb": 0o660}


def test_wrong_modes_are_put_right_when_the_writer_opens(tmp_path: Path) -> None:
    """A restored backup with open modes does not stay open."""
    Writer(tmp_path).close()
    (tmp_path / "data.mdb").chmod(0o666)
    Writer(tmp_path).close()
    assert stat.S_IMODE((tmp_path / "data.mdb").stat().st_mode) == 0o640


def test_the_reader_holds_data_mdb_for_reading_only(tmp_path: Path) -> None:
    """Neither its descriptor nor its mapping could write, so a taken-over worker cannot change a verdict through it."""
    Writer(tmp_path).close()
    reader = Reader(tmp_path)
    data = str(tmp_path / "data.mdb")
    handles = [
        handle for handle in Path("/proc/self/fd").iterdir() if handle.is_symlink() and str(handle.readlink()) == data
    ]
    flags = [Path(f"/proc/self/fdinfo/{handle.name}").read_text().split("flags:")[1].split()[0] for handle in handles]
    mappings = [line.split()[1] for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(data)]
    reader.close()
    assert flags
    assert all(int(flag, 8) & os.O_ACCMODE == os.O_RDONLY for flag in flags)
    assert mappings
    assert all(mapping == "r--s" for mapping in mappings)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_member_of_the_group_reads_the_list_and_cannot_open_it_for_writing() -> None:
    """The gateway's side on the appliance: another user, the folder's group, nothing more."""
    script = (
        "import os, sys\n"
        "from sentry_runtime.devices.record import DeviceKey\n"
        "from sentry_runtime.devices.store import Reader, StoreError, Writer\n"
        "os.setgroups([]); os.setgid(54321); os.setuid(54322)\n"
        "reader = Reader(sys.argv[1])\n"
        "print(reader.get(DeviceKey('C1', 'anna@lab.test')).version)\n"
        "reader.close()\n"
        "try:\n"
        "    Writer(sys.argv[1])\n"
        "except StoreError as error:\n"
        "    print(error)\n"
        "try:\n"
        "    os.symlink('/etc/passwd', sys.argv[1] + '/cloud.json')\n"
        "except PermissionError:\n"
        "    print('nothing is put there')\n"
    )
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        os.chown(folder, 0, 54321)
        Path(folder).chmod(0o2750)  # as roles/base/files/tmpfiles.conf has it
        writer = Writer(folder)
        writer.put([allowed(ANNA, 7)])
        command = [sys.executable, "-c", script, folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])
        writer.close()
    version, refusal, beside = done.stdout.splitlines()
    assert beside == "nothing is put there"
    assert version == "7"
    assert refusal.endswith("cannot be opened for writing: [Errno 13] Permission denied: '" + folder + "/data.mdb'")


def test_a_list_that_nobody_has_created_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    """A worker that starts before the agent hears what is missing."""
    with pytest.raises(StoreError, match=str(tmp_path)):
        Reader(tmp_path)
    with pytest.raises(StoreError, match="cannot be opened for writing"):
        Writer(tmp_path / "nowhere")


def start_child(folder: Path, first: int) -> subprocess.Popen[str]:
    """The writing process."""
    command = [sys.executable, "-m", "tests.unit.devices.writing_child", str(folder), str(first)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])


def read_generations(child: subprocess.Popen[str], count: int) -> int:
    """Wait for so many finished writes; the number of the last one."""
    assert child.stdout is not None
    last = 0
    for _ in range(count):
        last = int(child.stdout.readline())
    return last


def test_a_reader_sees_whole_generations_while_another_process_writes(tmp_path: Path) -> None:
    """All ten records of one look are never older than what the writer had already confirmed."""
    child = start_child(tmp_path, 1)
    assert child.stdout is not None
    try:
        confirmed = read_generations(child, 1)
        reader = Reader(tmp_path)
        for _ in range(20):
            seen = [reader.get(key) for key in KEYS]
            assert all(record is not None and record.version >= confirmed for record in seen)
            confirmed = read_generations(child, 1)
        reader.close()
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_kill_9_at_any_write_loses_no_confirmed_write_and_leaves_no_half_one(tmp_path: Path) -> None:
    """Twelve killed writers in a row on one list, with a reader that was killed too."""
    last = 0
    for round_number in range(12):
        child = start_child(tmp_path, last + 1)
        assert child.stdout is not None
        confirmed = read_generations(child, 1 + 7 * round_number)
        child.kill()
        rest = child.stdout.read().split()
        child.wait()
        child.stdout.close()
        confirmed = int(rest[-1]) if rest else confirmed
        store = Writer(tmp_path)
        last = store.cursor
        versions = {record.version for record in store.iterate()}
        store.close()
        # The write that ran when the signal came may have been finished or not; nothing in between.
        assert last in (confirmed, confirmed + 1)
        assert versions == {last}


WRITES = ("pwrite64", "pwritev", "writev", "fdatasync", "fsync", "msync", "ftruncate", "fallocate")
"""Every system call that LMDB changes or confirms a file with."""


def traced(folder: Path, *options: str) -> tuple[int, int, str]:
    """A writer of three generations under strace: its exit code, the last generation that it confirmed, and the trace."""
    trace = folder.with_suffix(".trace")
    child = [sys.executable, "-m", "tests.unit.devices.writing_child", str(folder), "1", "3"]
    done = subprocess.run(
        ["strace", "-qq", "-o", str(trace), *options, *child], stdout=subprocess.PIPE, text=True, check=False
    )
    confirmed = done.stdout.split()
    return done.returncode, int(confirmed[-1]) if confirmed else 0, trace.read_text()


def test_kill_9_before_each_single_write_leaves_a_list_that_opens_clean(tmp_path: Path) -> None:
    """From the first one on, which makes the list: each system call that writes is what some writer no longer does."""
    whole = tmp_path / "whole"
    whole.mkdir()
    code, confirmed, trace = traced(whole, "-e", f"trace={','.join(WRITES)}")
    assert (code, confirmed) == (0, 3)
    counts = {call: trace.count(f"{call}(") for call in WRITES}
    assert sum(counts.values()) >= 6  # a commit is pages and a header at least
    places = [(call, number) for call, count in counts.items() for number in range(1, count + 1)]
    seen = set()
    for call, number in places:
        folder = tmp_path / f"{call}{number}"
        folder.mkdir()
        kill = f"inject={call}:signal=SIGKILL:when={number}"
        code, confirmed, _ = traced(folder, "-e", f"trace={call}", "-e", kill)
        assert code in (-signal.SIGKILL, 128 + signal.SIGKILL), (call, number)
        store = Writer(folder)
        last, versions = store.cursor, {record.version for record in store.iterate()}
        store.put([allowed(ANNA)])  # and it goes on
        store.close()
        assert last in (confirmed, confirmed + 1), (call, number)
        assert versions == ({last} if last else set()), (call, number)
        seen.add(last)
    assert seen == {0, 1, 2}


def test_the_slot_of_a_killed_reader_is_given_back(store: Writer, tmp_path: Path) -> None:
    """Else the pages it was reading would be kept for ever."""
    script = (
        "import os, sys, lmdb\n"
        "environment = lmdb.open(sys.argv[1], readonly=True, create=False, max_dbs=0)\n"
        "transaction = environment.begin()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert store.free_dead_readers() == 1
    assert store.free_dead_readers() == 0


@settings(max_examples=30)
@given(st.lists(st.tuples(keys, st.booleans()), max_size=20))
def test_the_list_is_a_sorted_map(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[DeviceKey, bool]]
) -> None:
    """Whatever is written and removed, pages of any size give what a dict would."""
    store = Writer(tmp_path_factory.mktemp("list"))
    model: dict[DeviceKey, Record] = {}
    for version, (key, stays) in enumerate(steps, 1):
        if stays:
            model[key] = allowed(key, version)
            store.put([model[key]])
        else:
            model.pop(key, None)
            store.remove([key])
    pages: list[Record] = []
    while page := store.iterate(pages[-1].key if pages else None, 3):
        pages += page
    store.close()
    assert pages == [model[key] for key in sorted(model)]


ENFORCED = Enforcement(temporary=2**32 - 1, final=7, digest=bytes(range(32)), wipe=Directive.ACCOUNT)


def test_what_a_backend_enforces_is_kept_beside_its_entry(store: Writer, tmp_path: Path) -> None:
    """It is read by whoever reads the list, and is no entry of it."""
    store.write(put=[allowed(ANNA), allowed(BERT)], enforced={ANNA: ENFORCED})
    store.close()
    reader = Reader(tmp_path)
    assert (reader.enforcement(ANNA), reader.enforcement(BERT)) == (ENFORCED, None)
    assert reader.enforcement(DeviceKey("", "")) is None
    reader.close()
    again = Writer(tmp_path)
    assert again.enforcement(ANNA) == ENFORCED
    assert [record.key for record in again.iterate()] == [ANNA, BERT]
    assert again.of_device("C1") == [allowed(ANNA), allowed(BERT)]
    again.write(enforced={ANNA: None})
    assert again.enforcement(ANNA) is None
    again.close()


def test_what_a_backend_enforces_goes_with_its_entry(store: Writer) -> None:
    """However that goes; and without an entry it is not kept."""
    for gone in ({"remove": [ANNA]}, {"removed_at": [(ANNA, 9)]}):
        store.write(put=[allowed(ANNA)], enforced={ANNA: ENFORCED})
        store.write(put=[allowed(ANNA, 2)])
        assert store.enforcement(ANNA) == ENFORCED
        store.write(**gone)
        assert store.enforcement(ANNA) is None
        store.write(enforced={ANNA: ENFORCED})
        assert store.enforcement(ANNA) is None
    store.write(put=[allowed(ANNA)], enforced={ANNA: ENFORCED})
    store.write(remove=[ANNA], enforced={ANNA: ENFORCED})
    assert store.enforcement(ANNA) is None


def test_damaged_words_on_a_backend_damage_nothing_else(store: Writer, tmp_path: Path) -> None:
    """The reader says so, the writer writes over them."""
    store.write(put=[allowed(ANNA)], enforced={ANNA: ENFORCED})
    with store._env.begin(write=True) as txn:
        txn.put(b"\0enforced\0" + encode_key(ANNA), b"\xc1")
    assert store.enforcement(ANNA) is None
    store.close()
    reader = Reader(tmp_path)
    with pytest.raises(EntryUnreadableError, match="a backend's keys for C1"):
        reader.enforcement(ANNA)
    assert reader.get(ANNA) == allowed(ANNA)
    reader.close()


def test_removals_are_forgotten_beside_what_backends_enforce(store: Writer) -> None:
    """The kinds of keys do not run into each other."""
    store.write(put=[allowed(ANNA)], enforced={ANNA: ENFORCED}, removed_at=[(BERT, 5)])
    store.write(cursor=5)
    assert (store.removed_at(BERT), store.cursor, store.enforcement(ANNA)) == (0, 5, ENFORCED)


@pytest.mark.parametrize(
    ("held", "after", "news"),
    [
        (None, None, True),
        (Enforcement(final=7), None, True),
        (None, 0, True),
        (None, 7, False),
        (Enforcement(final=7), 7, True),
        (Enforcement(final=8), 7, False),
        (Enforcement(final=8), 0, False),
        (Enforcement(temporary=9), 0, False),
        (Enforcement(temporary=9), 9, False),
        (Enforcement(), 0, False),
    ],
)
def test_a_refused_key_is_news_only_while_it_is_the_present_one(
    held: Enforcement | None,
    after: int | None,
    news: bool,  # noqa: FBT001 - a table
) -> None:
    """A device that has begun to provision anew loses nothing by a request that was on its way."""
    assert applies(held, after) is news


def test_many_entries_are_read_at_one_moment(tmp_path: Path) -> None:
    """Those that are not there, that are damaged or that could not be there at all are left out."""
    keys = [DeviceKey(f"PHONE{number}", "anna") for number in range(4)]
    records = [Record(key=key, state=State.ALLOWED, version=1) for key in keys[:3]]
    writer = Writer(tmp_path)
    writer.put(records)
    with writer._env.begin(write=True) as transaction:
        transaction.put(encode_key(keys[1]), b"\xc1")
    reader = Reader(tmp_path)
    assert reader.get_many([*keys, DeviceKey("", "anna")]) == {keys[0]: records[0], keys[2]: records[2]}
    reader.close()
    writer.close()
