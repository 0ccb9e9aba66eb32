"""Bundles and captures at the command line: made, printed as a block, gone."""

import base64
import json
import tarfile
from io import BytesIO

from appliance.cli.support import BEGIN, END
from tests.unit.appliance.cli.desk import SECRET, Configd, Run

ENTER = f"enable\n{SECRET}\n"


def test_a_bundle_is_made_and_printed_as_a_block_and_then_it_is_gone(cli: Run, configd: Configd) -> None:
    made = json.loads(cli(stdin=f"{ENTER}support bundle | json\n").stdout)["facts"]
    assert [one.name for one in configd.daemon.shelf.all()] == [made["download"]]
    done = cli(stdin=f"{ENTER}download fetch {made['download']}\n")
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1]) == (BEGIN, END)
    assert max(map(len, lines)) == 64
    data = base64.b64decode("".join(lines[1:-1]))
    assert len(data) == int(made["bytes"])
    with tarfile.open(fileobj=BytesIO(data)) as archive:
        assert "sentry-support/configuration.json" in archive.getnames()
    assert configd.daemon.shelf.all() == ()
    assert "found no file" in cli(stdin=f"{ENTER}download fetch {made['download']}\n").stderr


def test_one_is_dropped(cli: Run, configd: Configd) -> None:
    name = configd.daemon.shelf.put("bundle", b"x").name
    assert cli(stdin=f"{ENTER}download drop {name}\n").returncode == 0
    assert configd.daemon.shelf.all() == ()


def test_a_capture_is_begun_by_typed_words_and_ended(cli: Run) -> None:
    begun = cli(stdin=f"{ENTER}debug capture start mgmt0 tcp host 192.0.2.10 port 25 seconds 30 whole\n")
    assert "mgmt0 tcp host 192.0.2.10 port 25 30 s whole packets" in begun.stdout
    again = cli(stdin=f"{ENTER}debug capture start mgmt0 any\n")
    assert "a capture is running" in again.stderr
    assert "nothing was captured" in cli(stdin=f"{ENTER}debug capture stop\n").stderr


def test_what_is_no_typed_word_is_not_taken(cli: Run) -> None:
    for line in (
        "debug capture start mgmt0 ip6",
        "debug capture start mgmt0 tcp port ssh",
        "debug capture start mgmt0 tcp port 22 or 23",
    ):
        done = cli(stdin=f"{ENTER}{line}\n")
        assert done.returncode != 0, line
        assert done.stderr, line
