"""The verbs about backups: one file of everything that makes this appliance what it is, and the way back from it.

A restore is a commit: vetted as one, in one transaction with the keys and certificates, undone as one.
"""

import base64
import time
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

from appliance import __version__, keyring
from appliance.apply import Engine, Order, no_step_back, stamp
from appliance.backup import armour, contents, sealing
from appliance.backup.bounds import BackupError
from appliance.backup.keeping import Folder
from appliance.config import migrations
from appliance.configd import api, lockout
from appliance.configd.errors import refused
from appliance.configd.sessions import Held
from appliance.features.base import Tree
from appliance.system import Machine

HOST_CHARACTERS = 100  # of a revision's comment, which has 200


def make(engine: Engine, passphrase: str, now: float) -> tuple[sealing.Header, bytes]:
    """A backup of what runs. Raises `BackupError`, `ConflictError` while a commit is being applied, `ApplyError`."""
    sealing.check_passphrase(passphrase)

    def look(tree: Tree, machine: Machine) -> tuple[str, bytes]:
        return str(tree.get("hostname", "")), contents.gather(tree, machine, engine.vault.reveal)

    found = engine.tend((), look)
    if found is None:
        raise BackupError("found no configuration that runs; allowed: a backup of an appliance that has one")
    host, payload = found
    file = sealing.seal(payload, passphrase, product=__version__, host=host, when=stamp(now), schema=migrations.VERSION)
    return sealing.read_header(file), file


def told(header: sealing.Header, file: bytes) -> api.Backup:
    """A file as it leaves configd."""
    return api.Backup(
        host=header.host, when=header.when, product=header.product, backup=base64.b64encode(file).decode()
    )


class Backups:
    """The verbs. `folder` has the backups that configd makes by itself, `clock` gives seconds since the epoch."""

    def __init__(self, engine: Engine, folder: Folder, *, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._folder = folder
        self._clock = clock

    def export(self, verb: api.ExportBackup, _held: Held) -> api.Backup:
        """A backup of what runs, made now, or one that lies here."""
        if verb.name and verb.passphrase:
            raise BackupError("found a name and a passphrase; allowed: one of them, a backup that lies here is sealed")
        if verb.name:
            file = self._folder.read(verb.name)
            return told(sealing.read_header(file), file)
        return told(*make(self._engine, verb.passphrase, self._clock()))

    def restore(self, verb: api.RestoreBackup, held: Held) -> api.Committed:
        """Make what a backup holds the running configuration, with its files; or only say what that would change. Raises
        `BackupError` and whatever a commit does."""
        order = self._order(verb, held)
        if verb.check_only:
            return self._engine.check(order)
        self._make_folders(order.brings)
        return self._engine.commit(order)

    def _order(self, verb: api.RestoreBackup, held: Held) -> Order:
        file = armour.decoded(verb.backup)
        header, packed = sealing.unseal(file, verb.passphrase)
        payload = contents.read(packed)
        base = self._engine.store.digest()
        if verb.digest and verb.digest != base:
            raise refused(
                "conflict", "the configuration is not the one with this digest any more; check the backup anew"
            )
        return Order(
            tree=contents.settings(payload, header.schema),
            base=base,
            user=held.user,
            comment=f"restored from the backup of {header.host[:HOST_CHARACTERS]} of {header.when[:20]}",
            confirm_minutes=verb.confirm_minutes,
            guard=no_step_back if verb.confirm_minutes is not None else lockout.guard(held),
            brings=contents.files(payload, self._engine.machine),
            tells=contents.UNITS,
        )

    def _make_folders(self, paths: Iterable[str]) -> None:
        """Where the files will lie; a folder that is empty is nobody's business, so it needs no way back."""
        for folder in sorted({str(PurePosixPath(path).parent) for path in paths}):
            mode = "0700" if folder in (keyring.RING, str(PurePosixPath(contents.TOKENS).parent)) else "0755"
            self._engine.machine.run(["install", "-d", "-o", "root", "-g", "root", "-m", mode, folder])
