"""The portal's page of backups: what lies here, whether copies arrived, and sending one now."""

import pytest

from appliance.configd import api
from appliance.configd.facts.backups import COLUMNS, DESTINATIONS
from tests.unit.appliance.portal.stage import Stage, seen

NAME = "20260131T180000Z-7.backup"


def told(stage: Stage, *, kept: bool = True, state: str = "sent", title: str = "backups") -> None:
    rows = ((NAME, "2026-01-31T18:00:00Z", "7", "4096"),) if kept else ()
    stage.site.topics["backups"] = api.Table(title=title, columns=COLUMNS, rows=rows)
    sent = (("vault", "sftp", NAME, "2026-01-31T18:00:20Z", state),)
    stage.site.topics["backup-destinations"] = api.Table(
        title="destinations of backups", columns=DESTINATIONS, rows=sent
    )
    stage.site.topics["backup-key"] = api.Text(title="key of backups", lines=("ecdsa-sha2-nistp384 AAAA",))


async def test_what_lies_here_and_what_kept_it_from_arriving_stand_there(stage: Stage) -> None:
    told(stage, state="FAILED 2 times: Connection refused", title="backups (the last one FAILED: no room on the disk)")
    alice = await (await stage.person("alice")).get("/backups")
    for words in (NAME, "vault", "Connection refused", "no room on the disk", "ecdsa-sha2-nistp384 AAAA", "Send now"):
        assert words in alice.text


async def test_without_a_backup_there_is_no_button_and_a_form_all_the_same_is_told_why(stage: Stage) -> None:
    told(stage, kept=False)
    alice = await (await stage.person("alice")).get("/backups")
    assert not any(one.get("id") == "send-backup" for one in seen(alice.page).all("button"))
    await alice.send("/backups/send")
    assert "found no place to send it to; allowed: one in backup sftp or backup s3" in alice.text


async def test_what_came_of_it_is_said_of_each_destination(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    told(stage)
    asked: list[str] = []

    def send(verb: api.SendBackup, _held: object) -> api.Facts:
        asked.append(verb.name)
        return api.Facts(title=NAME, facts=(("attic", "NOT SENT: Connection refused"), ("vault", "sent")))

    monkeypatch.setitem(stage.site.actions.table, api.SendBackup, send)
    alice = await (await stage.person("alice")).get("/backups")
    await alice.send("/backups/send")
    assert asked == [""]
    assert f"{NAME} to vault: sent" in alice.text
    assert f"{NAME} to attic: NOT SENT: Connection refused" in alice.text
    notes = [one.get("class") for one in seen(alice.page).all("p") if one.get("role") in ("alert", "status")]
    assert notes == ["trouble", "done"]
    await alice.post("/backups/send", {"name": "x" * 65})
    assert alice.status == 400


@pytest.mark.parametrize("user", ["olga", "albert"])
async def test_the_other_roles_neither_see_it_nor_send(stage: Stage, user: str) -> None:
    told(stage)
    person = await stage.person(user)
    assert "/backups" not in person.page
    await person.get("/backups")
    assert person.status == 403
