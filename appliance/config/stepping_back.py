"""When an earlier version of the appliance runs again: it goes on with the newest configuration that it can read.

Each version writes revisions in its own schema and leaves those that it found as they were, so an earlier one finds its own
again. What was committed since is put aside, with its secrets; nobody takes it back by itself.
"""

import secrets

from appliance.config import migrations
from appliance.config.store import NoSuchRevisionError, Running, Store, StoreError

TOKEN_BYTES = 8  # tells this step from every commit


def step_back(store: Store, *, version: int = migrations.VERSION) -> str:
    """Make the newest revision that this version reads the one that runs; what was done, or nothing ("").

    Killed at any point, it is done again at the next start. Raises `StoreError` where there is no such revision.
    """
    running = store.running()
    if running is None or (_schema_of(store, running.revision) or version) <= version:
        return ""
    target = next((number for number in store.numbers() if 0 < _schema_of(store, number) <= version), None)
    if target is None:
        raise StoreError(
            f"revision {running.revision}: a later version of the appliance wrote it, and no other that is kept can be read"
        )
    store.step_back(Running(revision=target, token=secrets.token_hex(TOKEN_BYTES)))
    return (
        f"an earlier version of the appliance runs again: so does revision {target}, the newest that it reads; "
        f"what was committed since, up to revision {running.revision}, is put aside"
    )


def _schema_of(store: Store, number: int) -> int:
    """The version that wrote a revision; 0 for one that is damaged or gone, of which others tell."""
    try:
        return store.schema_of(number)
    except (StoreError, NoSuchRevisionError):
        return 0
