"""CSV: round trips, formulas that do not run, and errors that name line and column."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.uem.security import Platform
from sentry_runtime.uem_server import sheets
from sentry_runtime.uem_server.resources import UserEntry
from sentry_runtime.uem_server.sheets import DEVICES, FORMULA, LABELS, ROWS, USERS, DeviceRow, SheetError

words = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), max_size=30)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,10}", fullmatch=True)
users = st.builds(
    UserEntry,
    principal=st.text(st.sampled_from("=+-@'abc"), min_size=1, max_size=8),
    full_name=words,
    labels=st.lists(names, max_size=4, unique=True).map(tuple),
)
devices = st.builds(
    DeviceRow,
    device_id=st.from_regex(r"[A-Z0-9=+@-]{1,12}", fullmatch=True),
    principal=st.just("anna"),
    device_type=words,
    note=words,
    registered=st.booleans(),
    labels=st.lists(names, max_size=4, unique=True).map(tuple),
    platform=st.none() | st.sampled_from(Platform),
    os_version=st.none() | st.just("17.5.1"),
    compromised=st.none() | st.booleans(),
    encrypted=st.none() | st.booleans(),
    contact=st.integers(0, 2**40),
)


@given(st.lists(users, max_size=6, unique_by=lambda user: user.principal))
def test_users_come_back_as_they_went(wanted: list[UserEntry]) -> None:
    """Whatever they are called."""
    text = sheets.head(USERS) + sheets.lines(USERS, wanted)
    assert [line.entry for line in sheets.read(USERS, text.encode())] == wanted


@given(st.lists(devices, max_size=6, unique_by=lambda device: device.device_id))
def test_devices_come_back_as_they_went(wanted: list[DeviceRow]) -> None:
    """With all that is reported of them; what is not reported stays so."""
    text = sheets.head(DEVICES) + sheets.lines(DEVICES, wanted)
    assert [line.entry for line in sheets.read(DEVICES, text.encode())] == wanted


@given(st.text(st.sampled_from(FORMULA + "'a\x1b"), max_size=6))
def test_no_cell_is_a_formula_to_a_spreadsheet(cell: str) -> None:
    """And it can be had back."""
    text = sheets.written([[cell]])
    ((found,),) = csv.reader(io.StringIO(text, newline=""))
    assert not found.startswith(tuple(FORMULA))
    assert sheets.unguarded(found) == cell


@given(st.text(st.sampled_from("=-;';a"), max_size=8))
def test_where_a_semicolon_ends_a_cell_none_is_a_formula_either(cell: str) -> None:
    """A device names its own type, and may put one there."""
    guarded = sheets.guarded(cell)
    assert not any(part.startswith(tuple(FORMULA)) for part in guarded.split(";"))
    assert sheets.unguarded(guarded) == cell


@pytest.mark.parametrize("begins", ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\t=1", "\uff1d1"])
def test_what_a_spreadsheet_would_run_gets_an_apostrophe(begins: str) -> None:
    """Names and notes come from strangers."""
    assert (
        sheets.lines(USERS, [UserEntry(principal="a", full_name=begins)]).split(",")[1].strip('"\r\n') == f"'{begins}"
    )


@pytest.mark.parametrize("cell", ["'tis", "'", "''", "a=b", ""])
def test_a_persons_own_apostrophe_stays(cell: str) -> None:
    """It is no mark of ours."""
    line = sheets.read(USERS, f'principal,full_name\nanna,"{cell}"\n'.encode())[0]
    assert line.entry.full_name == (cell if cell != "''" else "'")


HEAD = "device_id,principal,registered,labels,platform,os_version,compromised,contact\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (HEAD + "A,anna,yes,,,,,\nB,anna,perhaps,,,,,\n", "line 3, column `registered`: `yes`, `no` or nothing"),
        (HEAD + "A,anna,,bad label,,,,\n", "line 2, column `labels`: Expected `str` matching regex"),
        (HEAD + "A,anna,,,symbian,,,\n", "line 2, column `platform`: Invalid enum value 'symbian'"),
        (HEAD + "A,anna,,,ios,seventeen,,\n", "line 2, column `os_version`: Expected `str` matching regex"),
        (HEAD + "A,anna,,,,,,1e3\n", "line 2, column `contact`: a whole number, found '1e3'"),
        (HEAD + "A,anna,,,,,,9999999999999\n", "line 2, column `contact`: Expected `int` <= "),
        (HEAD + ",anna,,,,,,\n", "line 2, column `device_id`: Expected `str` of length >= 1"),
        (HEAD + "A,anna\n", "line 2: 8 cells are wanted, found 2"),
        (HEAD + "A,anna,,,,,,\n\nA,anna,,,,,,\n", "line 4, column `device_id`: the same as in line 2"),
        (HEAD + 'A,"an"na,,,,,,\n', "line 2: not CSV"),
        (HEAD + 'A,"anna\n', "line 2: not CSV"),
        (HEAD + f"A,{'n' * 5_000},,,,,,\n", "line 2, column `principal`: at most 4096 characters, found 5000"),
        ("device_id\nA\n", "line 1, column `principal`: it is missing"),
        ("device_id,principal,colour\n", "line 1, column `colour`: there is no such column; allowed: device_id, "),
        ("device_id,principal,note,note\n", "line 1, column `note`: it is there twice"),
        ("", "line 1, column `device_id`: it is missing"),
    ],
)
def test_what_is_wrong_is_named_by_line_and_column(text: str, why: str) -> None:
    """And nothing of the sheet is taken."""
    with pytest.raises(SheetError) as error:
        sheets.read(DEVICES, text.encode())
    assert str(error.value).startswith(why)


def test_what_is_not_utf_8_is_named_by_its_line() -> None:
    """A sheet saved in another encoding."""
    with pytest.raises(SheetError, match="line 3: not UTF-8"):
        sheets.read(USERS, b"principal,full_name\nanna,Anna\nj\xf6rg,J\n")


def test_a_byte_order_mark_and_a_line_feed_are_as_good() -> None:
    """Spreadsheets write either."""
    (line,) = sheets.read(USERS, b"\xef\xbb\xbfprincipal,labels\r\nanna,staff; lab ;\r\n")
    assert (line.number, line.entry) == (2, UserEntry(principal="anna", labels=("staff", "lab")))


def test_a_sheet_has_so_many_lines_and_no_more() -> None:
    """The next one is named."""
    text = "name\n" + "".join(f"l{number}\n" for number in range(ROWS + 1))
    assert len(sheets.read(LABELS, text.removesuffix(f"l{ROWS}\n").encode())) == ROWS
    with pytest.raises(SheetError, match=f"line {ROWS + 2}: a sheet has at most {ROWS} lines"):
        sheets.read(LABELS, text.encode())
