"""Our MIB: what is served is what the module says, from what configd says, and by a real snmpd."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from appliance.configd.api import Health
from appliance.features.snmp import OWN, VIEW
from appliance.snmp.__main__ import STALE_SECONDS, answer, answers, known, oid_of
from appliance.snmp.figures import AGE, ROOT, WRAP, Figure, figures
from appliance.snmp.publishing import Publisher, read
from tests.unit.appliance.workbench import Clock

REPO = Path(__file__).parents[4]
MIB = (REPO / "docs/SENTRY-GATEWAY-MIB.txt").read_text()
DAY = 86_400
GATEWAY: dict[str, str | int] = {
    "requests": 100, "allowed": 80, "blocked": 10, "denied": 3, "unprovisioned": 2, "throttled": 1, "malformed": 4,
    "undecided": 0, "connections_now": 7, "exchanges_now": 5, "workers": 2, "state": "running",
    "backend.mail.up": 2, "backend.mail.down": 0, "backend.old.up": 0, "backend.old.down": 2,
}  # fmt: skip
CERTIFICATES = {"portal": "2027-01-25T08:00:00+00:00", "gateway": "2027-01-14T08:00:00+00:00"}
TYPES = {"counter": "Counter32", "gauge": "Gauge32", "integer": "Integer32|TruthValue", "string": "DisplayString"}


def health(**more: object) -> Health:
    fields = {
        "gateway": GATEWAY,
        "agent": {"devices": 42, "link": "up"},
        "thorough": True,
        "certificates": CERTIFICATES,
    }
    fields |= {"units": (), "device_cache_size": 100, "disks": {}, "synchronised": True, "fips": True, "sessions": 3}
    return Health(**{**fields, **more})  # type: ignore[arg-type]


def taken(**more: object) -> dict[tuple[int, ...], Figure]:
    return {one.oid: one for one in figures(health(**more), CERTIFICATES, Clock().now)}


# --- the module --------------------------------------------------------------------------------------------------


def objects() -> dict[str, tuple[tuple[int, ...], str, str]]:
    """Every object of the module that has a value: its number below `ROOT`, its syntax, its access."""
    places: dict[str, tuple[int, ...]] = {"enterprises": (1, 3, 6, 1, 4, 1)}
    pattern = re.compile(
        r"^(?!IMPORTS)(\w+)\s+(?:OBJECT IDENTIFIER|MODULE-IDENTITY|OBJECT-TYPE)(.*?)::= \{ (\w+) (\d+) \}",
        re.MULTILINE | re.DOTALL,
    )
    defined = {match[1]: (match[3], int(match[4]), match[2]) for match in pattern.finditer(MIB)}

    def place(name: str) -> tuple[int, ...]:
        if name not in places:
            places[name] = (*place(defined[name][0]), defined[name][1])
        return places[name]

    assert place("sentryGatewayMIB") == ROOT
    found = {}
    for name, (_parent, _number, text) in defined.items():
        access = re.search(r"MAX-ACCESS\s+(\S+)", text)
        syntax = re.search(r"SYNTAX\s+(\w+)", text)
        if access and syntax:
            found[name] = (place(name)[len(ROOT) :], syntax[1], access[1])
    return found


def test_what_is_served_is_what_the_module_says_and_nothing_of_it_is_missing() -> None:
    readable = {oid: (name, syntax) for name, (oid, syntax, access) in objects().items() if access == "read-only"}
    assert len(readable) > 20
    assert {access for _oid, _syntax, access in objects().values()} == {"read-only", "not-accessible"}
    served = {one.oid[:-1]: one.kind for one in taken().values()} | {AGE[:-1]: "gauge"}
    assert set(served) == set(readable)
    for oid, kind in served.items():
        assert re.fullmatch(TYPES[kind], readable[oid][1]), readable[oid]


def test_every_object_is_in_the_group() -> None:
    group = re.search(r"sentryGroup OBJECT-GROUP\s+OBJECTS \{([^}]*)\}", MIB)
    assert group is not None
    named = {name for name, (_oid, _syntax, access) in objects().items() if access == "read-only"}
    assert {one.strip() for one in group[1].split(",")} == named


NO_SMILINT = shutil.which("smilint") is None or "SMIPATH" not in os.environ


@pytest.mark.skipif(NO_SMILINT, reason="smilint (Debian's smitools) and SMIPATH with the IETF's modules are not here")
def test_smilint_finds_nothing() -> None:
    done = subprocess.run(
        ["smilint", "-s", "-l", "6", str(REPO / "docs/SENTRY-GATEWAY-MIB.txt")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout + done.stderr == ""


# --- the figures -------------------------------------------------------------------------------------------------


def test_the_figures_are_configd_s() -> None:
    found = taken()
    assert found[(1, 1, 1, 0)] == Figure((1, 1, 1, 0), "counter", "100")
    assert [found[(1, 1, place, 0)].value for place in (2, 3, 4)] == ["80", "10", "3"]
    assert [found[(1, 1, place, 0)].value for place in (9, 10, 11, 12)] == ["7", "5", "2", "1"]
    assert [found[(1, 2, place, 0)].value for place in (1, 2)] == ["42", "1"]
    assert [found[(1, 3, place, 0)].value for place in (1, 2)] == ["1", "1"]
    assert [found[(1, 3, 3, 1, column, 2)].value for column in (2, 3, 4)] == ["old", "0", "2"]
    assert [(found[(1, 4, 1, 1, 2, row)].value, found[(1, 4, 1, 1, 3, row)].value) for row in (1, 2)] == [
        ("gateway", "-1"),
        ("portal", "10"),
    ]
    assert found[(1, 6, 1, 0)].value == "3"


def test_what_does_not_answer_is_not_there_but_said_to_be_down() -> None:
    found = taken(gateway={}, agent={})
    assert found[(1, 1, 12, 0)].value == "2"
    assert not [oid for oid in found if oid[:2] in ((1, 2), (1, 3)) or (oid[:2] == (1, 1) and oid[2] != 12)]


def test_a_counter_begins_again_where_its_type_ends() -> None:
    assert taken(gateway={**GATEWAY, "requests": WRAP + 5})[(1, 1, 1, 0)].value == "5"


def test_a_name_is_one_line_of_ascii() -> None:
    hostile = {"backend.a\nNONE\u202e.up": 1, "backend.a\nNONE\u202e.down": 0}
    assert taken(gateway=hostile)[(1, 3, 3, 1, 2, 1)].value == "a?NONE?"


# --- the file ----------------------------------------------------------------------------------------------------


def test_certificates_are_those_of_the_last_thorough_look(tmp_path: Path) -> None:
    clock = Clock()
    publisher = Publisher(tmp_path / "figures.json", wall=clock)
    publisher.publish(health())
    clock.now += DAY
    publisher.publish(health(thorough=False, certificates={}))
    found = read(tmp_path / "figures.json")
    assert found is not None
    assert {one.value for one in found.figures if one.oid[:4] == (1, 4, 1, 1)} == {"gateway", "portal", "9", "-2"}
    assert (tmp_path / "figures.json").stat().st_mode & 0o777 == 0o644
    assert [place.name for place in tmp_path.iterdir()] == ["figures.json"]


@pytest.mark.parametrize("text", ["", "{", '{"when":1}', "x" * 70_000])
def test_a_file_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "figures.json").write_text(text)
    assert known(tmp_path / "figures.json", 0.0) == ()


def test_old_figures_are_not_served_but_their_age_is(tmp_path: Path) -> None:
    clock = Clock()
    place = tmp_path / "figures.json"
    Publisher(place, wall=clock).publish(health())
    assert len(known(place, clock.now + STALE_SECONDS - 1)) > 20
    assert known(place, clock.now + STALE_SECONDS) == (Figure(AGE, "gauge", "120"),)


# --- what snmpd asks ---------------------------------------------------------------------------------------------

BASE = ".".join(map(str, ROOT))
SOME = (Figure((1, 1, 1, 0), "counter", "5"), Figure((1, 3, 3, 1, 2, 1), "string", "mail"))


@pytest.mark.parametrize(
    ("command", "oid", "said"),
    [
        ("get", f".{BASE}.1.1.1.0", f".{BASE}.1.1.1.0\ncounter\n5\n"),
        ("get", f".{BASE}.1.1.1", "NONE\n"),
        ("getnext", f".{BASE}", f".{BASE}.1.1.1.0\ncounter\n5\n"),
        ("getnext", f".{BASE}.1.1.1.0", f".{BASE}.1.3.3.1.2.1\nstring\nmail\n"),
        ("getnext", f".{BASE}.1.3.3.1.2.1", "NONE\n"),
        ("getnext", ".1.3.6.1.4.1.8072", f".{BASE}.1.1.1.0\ncounter\n5\n"),
        ("getnext", ".1.3.6.1.4.1.9999", "NONE\n"),
        ("get", "; id", "NONE\n"),
        ("get", "." + "1." * 200 + "1", "NONE\n"),
        ("get", f".{BASE}.99999999999999", "NONE\n"),
    ],
)
def test_a_question_and_its_answer(command: str, oid: str, said: str) -> None:
    assert answer(command, oid, SOME) == said


def test_numbers_that_are_none_are_no_oid() -> None:
    assert oid_of("") is None
    assert oid_of(".1.-3") is None
    assert oid_of(".1.٣") is None


def test_it_is_there_sets_nothing_and_ends_with_its_questions(tmp_path: Path) -> None:
    asked = StringIO(f"PING\nset\n.{BASE}.1.1.1.0\ninteger 5\nnonsense\nget\n.{BASE}.1.1.1.0\n")
    assert list(answers(asked, tmp_path / "none", lambda: 0.0)) == ["PONG\n", "not-writable\n", "NONE\n", "NONE\n"]


# --- by a real snmpd ---------------------------------------------------------------------------------------------

PASSPHRASE = "a passphrase of a test"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[int]:
    """snmpd on loopback, as the appliance has it: version 3, the view, our program; its port."""
    Publisher(tmp_path / "figures.json", wall=time.time).publish(health())
    program = tmp_path / "sentry-snmp"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(REPO)!r})\nfrom pathlib import Path\n"
        f"import appliance.snmp.__main__ as own\nown.PLACE = Path({str(tmp_path / 'figures.json')!r})\nsys.exit(own.main())\n"
    )
    program.chmod(0o755)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    view = "".join(f"view sentry {kind} {oid}\n" for kind, oid, _text in VIEW)
    (tmp_path / "snmpd.conf").write_text(
        f"agentAddress udp:127.0.0.1:{port}\n{view}rouser monitor priv -V sentry\npass_persist {OWN} {program}\n"
        f"createUser monitor SHA-256 {json.dumps(PASSPHRASE)} AES {json.dumps(PASSPHRASE)}\n"
    )
    environment = {**os.environ, "SNMP_PERSISTENT_DIR": str(tmp_path / "state"), "MIBS": ""}
    argv = ["snmpd", "-f", "-Le", "-C", "-c", str(tmp_path / "snmpd.conf"), "-I", "-smux", "-p", str(tmp_path / "pid")]
    with subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL) as process:
        yield port
        process.terminate()


def walked(port: int, oid: str, folder: Path) -> str:
    words = ["-v3", "-lauthPriv", "-umonitor", "-aSHA-256", "-A", PASSPHRASE, "-xAES", "-X", PASSPHRASE]
    argv = ["snmpwalk", *words, "-t", "1", "-r", "15", "-On", f"127.0.0.1:{port}", oid]
    environment = {**os.environ, "SNMP_PERSISTENT_DIR": str(folder / "manager"), "MIBS": ""}
    return subprocess.run(argv, capture_output=True, text=True, env=environment, check=False).stdout


@pytest.mark.skipif(shutil.which("snmpd") is None, reason="snmpd is not installed here")
def test_a_manager_reads_all_of_it_and_the_standard_modules_beside_it(agent: int, tmp_path: Path) -> None:
    said = walked(agent, OWN, tmp_path)
    rows = [line for line in said.splitlines() if line.startswith(f"{OWN}.")]
    assert len(rows) == len(taken()) + 1
    assert f"{OWN}.1.1.1.0 = Counter32: 100" in said
    assert f"{OWN}.1.1.11.0 = Gauge32: 2" in said
    assert f'{OWN}.1.3.3.1.2.1 = STRING: "mail"' in said
    assert re.search(rf"{re.escape(OWN)}\.1\.4\.1\.1\.3\.1 = INTEGER: -?\d+", said)
    # IF-MIB, its ifXTable, HOST-RESOURCES-MIB
    for standard in (".1.3.6.1.2.1.2.2.1.2", ".1.3.6.1.2.1.31.1.1.1.1", ".1.3.6.1.2.1.25.1.1"):
        assert f"{standard}." in walked(agent, standard, tmp_path)
    assert "No more variables" in walked(agent, ".1.3.6.1.6.3.15", tmp_path)  # the users and their keys
