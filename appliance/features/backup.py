"""Backups that the appliance makes of itself, on its own disk, and where copies of them are sent (`appliance.features.offsite`).
configd reads what is said of those kept here."""

from collections.abc import Iterable

from appliance.backup.bounds import PASSPHRASE, PASSPHRASE_LEAST, PASSPHRASE_MOST
from appliance.features import offsite, values
from appliance.features.base import Feature, Problem, Tree

KEEP, MOST_KEPT = 14, 50  # two weeks of one a day; of 1 MiB each at most


def is_passphrase(text: str) -> bool:
    """Whether a backup may be sealed with it; a reference to one passes, too."""
    return PASSPHRASE_LEAST <= len(text) <= PASSPHRASE_MOST and text.isprintable()


def verify(tree: Tree) -> Iterable[Problem]:
    """Nothing is kept unsealed."""
    held = tree["backup"]
    if (held["on_change"] or "daily_at" in held) and "passphrase" not in held:
        yield Problem("backup.passphrase", "nothing", f"{PASSPHRASE}, because backups are kept")
    yield from offsite.verify(tree)


FEATURE = Feature(
    name="backup",
    label="Backups",
    default={},
    schema=values.group(
        "Backups",
        "What the appliance keeps of itself on its own disk, sealed, and where copies go. `backup export` prints one.",
        on_change=values.switch(
            "On change", "One is made after each commit, once nobody has to confirm it any more.", default=False
        ),
        daily_at=values.described(
            {"type": "integer", "min": 0, "max": 23}, "Daily at", "The hour (UTC) at which one is made every day."
        ),
        keep=values.number("Keep", "How many; the oldest go.", low=1, high=MOST_KEPT, default=KEEP),
        passphrase=values.described(
            values.text_kind(is_passphrase, PASSPHRASE, secret=True),
            "Passphrase",
            "What they are sealed with. Keep it elsewhere, too: without it they are worth nothing.",
        ),
        sftp=offsite.SFTP,
        s3=offsite.S3_BUCKETS,
    ),
    verify=verify,
    render=offsite.render,
    flows=offsite.flows,
    units=(offsite.UNIT,),
    reconcile=offsite.reconcile,
    facts=("backups", "backup-destinations", "backup-key"),
)
