"""Tokens of the REST API as an administrator gives them out and takes them back in the command line."""

import json

from tests.unit.appliance.cli.desk import SECRET, Configd, Run


def test_one_is_given_out_listed_and_taken_back(cli: Run, configd: Configd) -> None:
    given = "token create fleet administrator scopes read,configure days 30 from 192.0.2.0/24,2001:db8::/64 | json"
    done = cli(stdin=f"enable\n{SECRET}\n{given}\nshow tokens\ntoken revoke fleet\nshow tokens | json\n")
    assert (done.returncode, done.stderr) == (0, "")
    made, end = json.JSONDecoder().raw_decode(done.stdout)
    assert made["token"].startswith("sentry_")
    assert (made["name"], made["scopes"]) == ("fleet", ["configure", "read"])
    assert made["networks"] == ["192.0.2.0/24", "2001:db8::/64"]
    listed, _, none = done.stdout[end:].partition("{")
    assert "fleet" in listed
    assert made["token"] not in listed
    assert json.loads("{" + none)["rows"] == []


def test_what_is_no_scope_and_a_name_that_is_taken_are_refused(cli: Run) -> None:
    lines = ["token create one auditor", "token create one auditor", "token create two auditor scopes everything"]
    done = cli(stdin="\n".join(["enable", SECRET, *lines, ""]))
    assert done.returncode != 0
    assert "found a token one already" in done.stderr or "everything" in done.stderr


def test_without_privilege_there_is_no_such_command(cli: Run) -> None:
    assert cli("-c", "token create one auditor").returncode != 0
    assert "needs another mode" in cli("-c", "show tokens").stderr
