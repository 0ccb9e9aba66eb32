"""The verb that has a backup sent to other machines now, whatever was tried before."""

from collections.abc import Callable
from typing import Any

from appliance.alerts.happening import plain
from appliance.backup.bounds import BackupError
from appliance.backup.keeping import Folder
from appliance.configd import api
from appliance.configd.facts.backups import destinations
from appliance.features.base import Tree
from appliance.offsite import api as offsite_api

NONE_KEPT = "found no backup that lies here; allowed: one that was made (backup on_change or daily_at)"
NOWHERE = "found no place to send it to; allowed: one in backup sftp or backup s3"


def send(verb: api.SendBackup, tree: Tree, folder: Folder, call: Callable[..., Any]) -> api.Facts:
    """Have a backup that lies here sent everywhere, now. Raises `BackupError`, or `ControlError` where the service is silent."""
    names = destinations(tree)
    if not names:
        raise BackupError(NOWHERE)
    name = verb.name or next((one.name for one in folder.all()), "")
    if not name:
        raise BackupError(NONE_KEPT)
    asked = offsite_api.Send(name=name, file=folder.read(name))
    report = call(offsite_api.SOCKET, asked, offsite_api.Report, seconds=offsite_api.SEND_SECONDS)
    return api.Facts(title=name, facts=tuple((each, _came(report.destinations.get(each), name)) for each in names))


def _came(now: offsite_api.Standing | None, name: str) -> str:
    """What came of it at one destination."""
    if now is None:
        return "NOT SENT: the service does not know it yet"
    if now.sent == name and not now.problem:
        return "sent"
    return f"NOT SENT: {plain(now.problem, offsite_api.WORDS_CHARACTERS) or 'no reason given'}"
