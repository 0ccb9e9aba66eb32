"""The service: what configd offers is sent to each destination, tried again for a while, and said how it stands."""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from appliance.offsite import plan, s3, sftp
from appliance.offsite.api import WORDS_CHARACTERS, Ask, Report, Send, Status
from appliance.offsite.failing import SendError
from appliance.offsite.keep import Keep
from appliance.offsite.settings import Destination, Settings, Sftp
from appliance.state_file import KeepError

LOOK_SECONDS = 5.0  # between looks at what is due

_log = logging.getLogger(__name__)


class Service:
    """`scratch` is a private folder for the file while it is sent by SFTP; `wall` says what time it is, in seconds since the
    epoch. Raises `KeepError` where the disk gives or takes nothing."""

    def __init__(self, settings: Settings, keep: Keep, scratch: Path, *, wall: Callable[[], float] = time.time) -> None:
        self._destinations = settings.destinations
        self._secrets = Path(settings.secrets)
        self._keep = keep
        self._scratch = scratch
        self._wall = wall
        self._public_key = keep.public_key()
        self._state = plan.settled(keep.load(), settings.destinations)
        keep.save(self._state)
        self._name, self._file = "", b""
        self._look = asyncio.Event()
        self._sending: dict[str, asyncio.Task[None]] = {}

    # --- answering -----------------------------------------------------------------------------------------------

    async def answer(self, asked: Ask) -> Report:
        """What configd asks."""
        if isinstance(asked, Status):
            return self._report()
        self._name, self._file = asked.name, asked.file
        if isinstance(asked, Send):
            await self._send_now()
        else:
            self._look.set()
        return self._report()

    async def _send_now(self) -> None:
        """One attempt at each destination, once those under way have ended."""
        await asyncio.gather(*self._sending.values())
        plan.again(self._state)
        self._start_due()
        await asyncio.gather(*self._sending.values())

    def _report(self) -> Report:
        said = {name: plan.standing(copy, self._name) for name, copy in self._state.copies.items()}
        return Report(holding=self._name, public_key=self._public_key, destinations=said)

    # --- sending -------------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Send what is due until `stop`. An attempt that is under way then is left: it is made again."""
        ending = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                self._start_due()
                looking = asyncio.create_task(self._look.wait())
                await asyncio.wait({ending, looking}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                looking.cancel()
                self._look.clear()
        finally:
            ending.cancel()
            for task in self._sending.values():
                task.cancel()
            await asyncio.gather(*self._sending.values(), return_exceptions=True)

    def _start_due(self) -> None:
        """An attempt for each destination that is due and has none under way."""
        if not self._name:
            return
        for name in [one for one in plan.due(self._state, self._name, self._wall()) if one not in self._sending]:
            task = asyncio.create_task(self._attempt(name, self._name, self._file))
            self._sending[name] = task
            task.add_done_callback(lambda _done, name=name: self._sending.pop(name, None))  # type: ignore[misc]

    async def _attempt(self, name: str, file_name: str, file: bytes) -> None:
        copy = self._state.copies[name]
        plan.begin(copy, file_name, self._wall())
        self._save()
        try:
            await self._send(self._destinations[name], name, file_name, file)
        except SendError as error:
            words = _line(str(error))
            plan.fail(copy, words)
            _log.warning("%s to %s: not sent (attempt %d of %d): %s", file_name, name, copy.tries, plan.TRIES, words)
        else:
            plan.succeed(copy, file_name, self._wall())
            _log.info("%s to %s: sent", file_name, name)
        self._save()

    async def _send(self, destination: Destination, name: str, file_name: str, file: bytes) -> None:
        if isinstance(destination, Sftp):
            folder = self._scratch / name
            try:
                folder.mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                raise SendError(f"{folder} cannot be made: {error.strerror}") from error
            await sftp.send(destination, file_name, file, self._keep.key, folder)
        else:
            now = datetime.fromtimestamp(self._wall(), UTC)
            await s3.send(destination, self._secret(name), file_name, file, now)

    def _secret(self, name: str) -> str:
        """The secret access key of a bucket, as it lies there now. Raises `SendError`, which says nothing of it."""
        try:
            return msgspec.json.decode(self._secrets.read_bytes(), type=dict[str, str])[name]
        except (OSError, KeyError, msgspec.MsgspecError):
            raise SendError("the secret access key cannot be read") from None

    def _save(self) -> None:
        """A disk that takes nothing ends no sending: it goes on from memory, and a restart sends once more."""
        try:
            self._keep.save(self._state)
        except KeepError as error:
            _log.error("%s", error)


def _line(text: str) -> str:
    """One printable line: a server elsewhere may have had a word in it."""
    plain = "".join(character if character.isprintable() else " " for character in " ".join(text.split()))
    return plain[:WORDS_CHARACTERS]
