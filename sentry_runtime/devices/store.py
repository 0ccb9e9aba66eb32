"""The device list on disk: one LMDB environment, one writing process, any number of reading processes.

| key in the one (unnamed) database | value |
|---|---|
| device id, NUL, principal | msgpack of `Record` |
| NUL `cursor` | the UEM's change number up to which everything is in the list |
| NUL NUL device id, NUL, principal | the change number by which the entry was removed |
| NUL `enforced` NUL device id, NUL, principal | msgpack of `Enforcement`: what a backend's own policy has come to for an entry |
| NUL `policy` NUL, SHA-256 | msgpack of the `Policy` with this digest: once, however many entries name it |
| NUL `tunnels` NUL, SHA-256 | msgpack of the app tunnels with this digest: once, however many entries name them |
| NUL `says` NUL device id, NUL, principal | msgpack of `Saying`: what the device of an entry says of itself |

A device id is never empty and never holds a NUL, so the kinds cannot meet, no two device keys share an encoding, and
LMDB's byte order is the order of `DeviceKey`. Every write is one transaction that is on the disk when the call
returns: after a kill -9 or a power cut the environment opens as the last finished call left it.

One process must not open the same folder twice (LMDB's locks are per process), and must not carry an open one over a fork.
"""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import lmdb
import msgspec

from sentry_runtime.devices import tunnel
from sentry_runtime.devices.enforcement import Enforcement
from sentry_runtime.devices.record import DeviceKey, Record
from sentry_runtime.devices.tunnel import AppTunnel
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy, digest

DEVICE_ID_BYTES = 64  # MS-ASHTTP allows 32 characters in a query; a GUID in hex has 32; real clients stay below 64
PRINCIPAL_BYTES = 320  # RFC 3696: 64 of local part, "@", 255 of domain. With the id and the marks: below LMDB's 511
MAP_BYTES = 1 << 30  # address space, not disk: three million entries of 300 bytes; the largest fleet has 100,000
READERS = 126  # LMDB's own default: far above one slot per worker (one per core) and a few diagnostic readers
DATA_MODE = 0o640  # the group (the gateway) reads, only the owner (the agent) writes
LOCK_MODE = 0o660  # a reader registers itself in the lock file, so the group must write it

_CURSOR = b"\0cursor"
_REMOVED = b"\0\0"
_ENFORCED = b"\0enforced\0"
_POLICY = b"\0policy\0"
_SAYS = b"\0says\0"
_TUNNELS = b"\0tunnels\0"
_FIRST_DEVICE = b"\1"  # the lowest byte with which a device id can begin

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode
_decode_enforcement = msgspec.msgpack.Decoder(Enforcement).decode
_decode_policy = msgspec.msgpack.Decoder(Policy).decode
_decode_tunnels = msgspec.msgpack.Decoder(tuple[AppTunnel, ...]).decode


class Saying(msgspec.Struct, frozen=True, array_like=True):
    """What a device says of itself, and whether the UEM has been told."""

    information: DeviceInformation
    told: bool = False


_decode_saying = msgspec.msgpack.Decoder(Saying).decode


class StoreError(RuntimeError):
    """The device list cannot be opened, read or written; the message names the folder."""


class EntryUnreadableError(StoreError):
    """This entry is damaged; the others can still be read."""


class StoreFullError(StoreError):
    """The map is full (`MAP_BYTES`); nothing of the refused call was written."""


def fits(key: DeviceKey) -> bool:
    """Whether `key` can be in the list at all: both parts non-empty, without NUL and within their bounds."""
    return _encoded(key.device_id, DEVICE_ID_BYTES) is not None and _encoded(key.principal, PRINCIPAL_BYTES) is not None


def _encoded(part: str, bound: int) -> bytes | None:
    """The part's bytes; None for one that does not fit."""
    if not part or "\0" in part or len(part) > bound:
        return None
    try:
        octets = part.encode()
    except UnicodeEncodeError:
        return None
    return octets if len(octets) <= bound else None


def encode_key(key: DeviceKey) -> bytes:
    """The LMDB key of `key`; injective, and in the order of `DeviceKey`. Raises `ValueError` when it does not `fits`."""
    device_id, principal = _encoded(key.device_id, DEVICE_ID_BYTES), _encoded(key.principal, PRINCIPAL_BYTES)
    if device_id is None or principal is None:
        raise ValueError(
            f"a device id of 1 to {DEVICE_ID_BYTES} bytes and a principal of 1 to {PRINCIPAL_BYTES} bytes, both without NUL,"
            f" are allowed; found {len(key.device_id)} and {len(key.principal)} characters"
        )
    return device_id + b"\0" + principal


class Reader:
    """A worker's view of the list: always the last finished write, never a half one.

    Opened read-only: the process needs to read `data.mdb` and to write `lock.mdb`. Raises `StoreError` while the agent has
    not created the list yet.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        try:
            self._env = lmdb.open(
                str(path), readonly=True, create=False, lock=True, max_dbs=0, max_readers=READERS, map_size=MAP_BYTES
            )
        except lmdb.Error as error:
            raise StoreError(f"{path}: the device list cannot be opened: {error}") from error

    def get(self, key: DeviceKey) -> Record | None:
        """The entry of exactly this key; None for a key that does not `fits`. Raises `StoreError`."""
        if not fits(key):
            return None
        try:
            with self._env.begin(buffers=True) as txn:
                value = txn.get(encode_key(key))
                return None if value is None else _decode(value)
        except msgspec.MsgspecError as error:
            raise EntryUnreadableError(f"{self._path}: the entry of {key.device_id}: {error}") from error
        except lmdb.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    def get_many(self, keys: Iterable[DeviceKey]) -> dict[DeviceKey, Record]:
        """The entries of these keys as they are at one moment, but for those that are not there or are damaged. Raises
        `StoreError`."""
        found: dict[DeviceKey, Record] = {}
        try:
            with self._env.begin(buffers=True) as txn:
                for key in keys:
                    value = txn.get(encode_key(key)) if fits(key) else None
                    if value is not None:
                        with contextlib.suppress(msgspec.MsgspecError):
                            found[key] = _decode(value)
        except lmdb.Error as error:
            raise StoreError(f"{self._path}: {error}") from error
        return found

    def enforcement(self, key: DeviceKey) -> Enforcement | None:
        """What is kept of a backend's own policy for the entry of this key. Raises `StoreError`."""
        if not fits(key):
            return None
        try:
            with self._env.begin(buffers=True) as txn:
                value = txn.get(_ENFORCED + encode_key(key))
                return None if value is None else _decode_enforcement(value)
        except msgspec.MsgspecError as error:
            raise EntryUnreadableError(f"{self._path}: a backend's keys for {key.device_id}: {error}") from error
        except lmdb.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    def of_device(self, device_id: str) -> list[Record]:
        """All entries of this device id, in the order of their principals. Raises `StoreError`."""
        try:
            with self._env.begin() as txn:
                return _of_device(txn, device_id)
        except (lmdb.Error, msgspec.MsgspecError) as error:
            raise StoreError(f"{self._path}: {error}") from error

    def policy(self, wanted: bytes) -> Policy | None:
        """The policy with this digest; None once no entry names it. Raises `StoreError`."""
        try:
            with self._env.begin(buffers=True) as txn:
                value = txn.get(_POLICY + wanted)
                return None if value is None else _decode_policy(value)
        except msgspec.MsgspecError as error:
            raise EntryUnreadableError(f"{self._path}: the policy {wanted.hex()[:12]}: {error}") from error
        except lmdb.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    def has_policies(self) -> bool:
        """Whether any entry names a policy. Raises `StoreError`."""
        try:
            with self._env.begin() as txn:
                return any(True for _ in _under(txn, _POLICY))
        except lmdb.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    def close(self) -> None:
        """Give the environment back; a second call does nothing."""
        self._env.close()


class Writer:
    """The agent's side of the list. One process, one thread. Creates the files with their modes whatever the umask is.

    The folder must exist; on the appliance it is 2770 and of the group that the readers are in.
    """

    def __init__(self, path: str | Path, *, map_bytes: int = MAP_BYTES) -> None:
        self._path = Path(path)
        try:
            _secure(self._path / "data.mdb", DATA_MODE)
            _secure(self._path / "lock.mdb", LOCK_MODE)
            self._env = lmdb.open(str(path), create=False, max_dbs=0, max_readers=READERS, map_size=map_bytes)
            self._env.reader_check()
        except (OSError, lmdb.Error) as error:
            raise StoreError(f"{path}: the device list cannot be opened for writing: {error}") from error
        # An empty commit makes the files a readable environment before the first device is known.
        self.write(cursor=self.cursor)

    @property
    def cursor(self) -> int:
        """The UEM's change number up to which everything is in the list; 0 at first."""
        with self._begin() as txn:
            return int(txn.get(_CURSOR) or b"0")

    def get(self, key: DeviceKey) -> Record | None:
        """The entry of exactly this key. Raises `ValueError` for a key that does not `fits`."""
        with self._begin() as txn:
            value = txn.get(encode_key(key))
        return None if value is None else _decode(value)

    def enforcement(self, key: DeviceKey) -> Enforcement | None:
        """What is kept of a backend's own policy for this key; nothing that cannot be read. Raises `ValueError` for a key
        that does not `fits`."""
        with self._begin() as txn:
            value = txn.get(_ENFORCED + encode_key(key))
        try:
            return None if value is None else _decode_enforcement(value)
        except msgspec.MsgspecError:
            return None

    def removed_at(self, key: DeviceKey) -> int:
        """The change number by which the UEM removed this entry, 0 if it did not (or the note was no longer needed)."""
        with self._begin() as txn:
            return int(txn.get(_REMOVED + encode_key(key)) or b"0")

    def look(self, keys: Iterable[DeviceKey]) -> dict[DeviceKey, tuple[Record | None, int]]:
        """For each key what `get` and `removed_at` say, in one look. Raises as they do."""
        with self._begin() as txn:
            return {key: _looked(txn, encode_key(key)) for key in keys}

    def put(self, records: Iterable[Record]) -> None:
        """Write these entries over what stood under their keys."""
        self.write(put=records)

    def remove(self, keys: Iterable[DeviceKey]) -> None:
        """Take these entries out; a key that is not there is no error."""
        self.write(remove=keys)

    def write(
        self,
        *,
        put: Iterable[Record] = (),
        remove: Iterable[DeviceKey] = (),
        removed_at: Iterable[tuple[DeviceKey, int]] = (),
        cursor: int | None = None,
        policies: Iterable[Policy] = (),
        forget: Iterable[bytes] = (),
        tunnels: Iterable[tuple[AppTunnel, ...]] = (),
        unlisted: Iterable[bytes] = (),
        says: Mapping[DeviceKey, Saying] | None = None,
        enforced: Mapping[DeviceKey, Enforcement | None] | None = None,
    ) -> None:
        """All of it in one transaction: entries to write, entries to take out, removals to remember, the new cursor, policies
        that entries name, digests of those that none names any more, the same for app tunnels, what devices say, what backends
        enforce (None: nothing any more).

        A remembered removal ends when its entry is written again, or when the cursor has reached it. With an entry goes what
        its device said and what is enforced on it, and without one nothing that is enforced is kept. Raises `ValueError` (a
        key that does not `fits`), `StoreFullError` or `StoreError`; then nothing was written.
        """
        try:
            with self._env.begin(write=True) as txn:
                for key in remove:
                    place = encode_key(key)
                    txn.delete(place)
                    txn.delete(_SAYS + place)
                    txn.delete(_ENFORCED + place)
                _shelve(txn, _POLICY, {digest(policy): policy for policy in policies}, forget)
                _shelve(txn, _TUNNELS, {tunnel.digest(listed): listed for listed in tunnels}, unlisted)
                for key, saying in (says or {}).items():
                    txn.put(_SAYS + encode_key(key), _encode(saying))
                for record in put:
                    place = encode_key(record.key)
                    txn.put(place, _encode(record))
                    txn.delete(_REMOVED + place)
                for key, version in removed_at:
                    place = encode_key(key)
                    txn.delete(place)
                    txn.delete(_ENFORCED + place)
                    txn.put(_REMOVED + place, b"%d" % version)
                _enforce(txn, enforced or {})
                if cursor is not None:
                    txn.put(_CURSOR, b"%d" % cursor)
                    _forget_removals(txn, cursor)
        except lmdb.MapFullError as error:
            size = self._env.info()["map_size"]
            raise StoreFullError(f"{self._path}: the device list has outgrown its {size} bytes") from error
        except lmdb.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    def policy(self, wanted: bytes) -> Policy | None:
        """The policy with this digest; None where no entry names it."""
        with self._begin() as txn:
            value = txn.get(_POLICY + wanted)
        return None if value is None else _decode_policy(value)

    def tunnels(self, wanted: bytes) -> tuple[AppTunnel, ...] | None:
        """The app tunnels with this digest; None where no entry names them, or there was no room for them."""
        with self._begin() as txn:
            value = txn.get(_TUNNELS + wanted)
        return None if value is None else _decode_tunnels(value)

    def said(self, key: DeviceKey) -> Saying | None:
        """What the device of this entry says of itself. Raises `ValueError` for a key that does not `fits`."""
        with self._begin() as txn:
            value = txn.get(_SAYS + encode_key(key))
        return None if value is None else _decode_saying(value)

    def sayings(self) -> Iterator[tuple[DeviceKey, Saying]]:
        """All that devices say, in key order."""
        with self._begin() as txn:
            for place, value in _under(txn, _SAYS):
                device_id, _, principal = place[len(_SAYS) :].decode().partition("\0")
                yield DeviceKey(device_id, principal), _decode_saying(value)

    def iterate(self, after: DeviceKey | None = None, limit: int = 500) -> list[Record]:
        """Up to `limit` entries in key order, from the first one behind `after`."""
        start = _FIRST_DEVICE if after is None else encode_key(after) + b"\0"
        with self._begin() as txn:
            return [_decode(value) for _, value in _from(txn, start, limit)]

    def of_device(self, device_id: str) -> list[Record]:
        """All entries of this device id, in the order of their principals."""
        with self._begin() as txn:
            return _of_device(txn, device_id)

    def begin_anew(self, records: Iterable[Record]) -> None:
        """These entries and nothing else, not even a cursor, in one transaction. Raises `StoreError`."""
        try:
            with self._env.begin(write=True) as txn:
                txn.drop(self._env.open_db(txn=txn), delete=False)
                for record in records:
                    txn.put(encode_key(record.key), _encode(record))
        except lmdb.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    def persist(self) -> int:
        """Have the disk confirm what was written, which each write has done already; how many bytes the list has on it.

        Raises `StoreError`: from then on nothing that is answered from the list may be believed to survive a power cut.
        """
        try:
            self._env.sync(True)  # noqa: FBT003 - `force`, which it takes by its place only
        except lmdb.Error as error:
            raise StoreError(f"{self._path}: {error}") from error
        return (self._path / "data.mdb").stat().st_blocks * 512

    def free_dead_readers(self) -> int:
        """Give back the slots of readers that died without closing; how many. Else old pages could never be reused."""
        return int(self._env.reader_check())

    def close(self) -> None:
        """Give the environment back; a second call does nothing."""
        self._env.close()

    def _begin(self) -> lmdb.Transaction:
        try:
            return self._env.begin()
        except lmdb.Error as error:
            raise StoreError(f"{self._path}: {error}") from error


def _looked(txn: lmdb.Transaction, place: bytes) -> tuple[Record | None, int]:
    value = txn.get(place)
    return None if value is None else _decode(value), int(txn.get(_REMOVED + place) or b"0")


def _from(txn: lmdb.Transaction, start: bytes, limit: int | None) -> Iterator[tuple[bytes, bytes]]:
    cursor = txn.cursor()
    if not cursor.set_range(start):
        return
    for count, item in enumerate(cursor):
        if limit is not None and count >= limit:
            return
        yield item


def _under(txn: lmdb.Transaction, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """What lies under keys that begin so, and nothing behind them."""
    for place, value in _from(txn, prefix, None):
        if not place.startswith(prefix):
            return
        yield place, value


def _shelve(txn: lmdb.Transaction, prefix: bytes, things: Mapping[bytes, object], gone: Iterable[bytes]) -> None:
    """What entries name by its digest: what is new on this shelf, and what goes."""
    for name, thing in things.items():
        txn.put(prefix + name, _encode(thing), overwrite=False)
    for name in gone:
        txn.delete(prefix + name)


def _enforce(txn: lmdb.Transaction, enforced: Mapping[DeviceKey, Enforcement | None]) -> None:
    for key, held in enforced.items():
        place = encode_key(key)
        if held is None or txn.get(place) is None:
            txn.delete(_ENFORCED + place)
        else:
            txn.put(_ENFORCED + place, _encode(held))


def _of_device(txn: lmdb.Transaction, device_id: str) -> list[Record]:
    prefix = _encoded(device_id, DEVICE_ID_BYTES)
    return [] if prefix is None else [_decode(value) for _, value in _under(txn, prefix + b"\0")]


def _forget_removals(txn: lmdb.Transaction, cursor: int) -> None:
    """Drop the removals that the cursor has passed: from there on the cursor itself says that such news is old."""
    notes = [(place, int(value)) for place, value in _under(txn, _REMOVED)]
    for place, version in notes:
        if version <= cursor:
            txn.delete(place)


def _secure(path: Path, mode: int) -> None:
    """Make sure the file exists with exactly this mode: LMDB would give both files one mode, and the umask's."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if stat.S_IMODE(os.fstat(handle).st_mode) != mode:
            os.fchmod(handle, mode)
    finally:
        os.close(handle)
