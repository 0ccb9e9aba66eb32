"""`python -m tests.bench.agent SOCKET LIST CONTROL DEVICES BLOCKED`: the agent's parts without a UEM.

The device list, the socket and the announcements are the agent's own; what a UEM would say is said here: of the devices with
which the list begins, and of each stranger that it may pass.
"""

import sys
import time
from collections.abc import Iterable
from pathlib import Path

import uvloop

from sentry_runtime import control
from sentry_runtime.agent.followers import Followers
from sentry_runtime.control_server import ControlServer, Peer, Refused
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State
from sentry_runtime.devices.store import Writer
from tests.bench import phones, remote

BATCH = 10_000  # entries of one transaction


def entry(phone: phones.Phone, state: State, version: int = 1) -> Record:
    """What the list says of a device, with the fields that a real one has."""
    now = int(time.time())
    reasons = (Reason.COMPROMISED,) if state is State.BLOCKED else ()
    return Record(
        key=DeviceKey(phone.device, phone.user),
        state=state,
        version=version,
        reasons=reasons,
        device_type="iPhone",
        registered=True,
        first_seen=now,
        updated=now,
    )


class Desk:
    """The list and who follows it."""

    def __init__(self, socket: str, folder: str) -> None:
        self._writer = Writer(folder)
        self._followers = Followers()
        self.server = ControlServer(socket, self._serve)

    def fill(self, known: int, blocked: int) -> None:
        """Write the devices with which a run begins."""
        self._write(entry(phones.known(number), State.ALLOWED) for number in range(known))
        self._write(entry(phones.blocked(number), State.BLOCKED) for number in range(blocked))

    def handle(self, word: str, number: int) -> int:
        """What the bench wants."""
        match word:
            case "followers":
                return self._followers.count
            case "block":
                return self._turn(number, State.BLOCKED)
            case "allow":
                return self._turn(number, State.ALLOWED)
        raise ValueError(f"followers, block and allow are known; found {word!r}")

    def _turn(self, count: int, state: State) -> int:
        """Give the first so many known devices this state and announce it; the monotonic time, in microseconds, at which that
        began."""
        began = time.monotonic_ns() // 1_000
        records = [entry(phones.known(number), state, 2) for number in range(count)]
        self._write(records)
        self._followers.announce(tuple(record.key for record in records))
        return began

    def _write(self, records: Iterable[Record]) -> None:
        batch: list[Record] = []
        for record in records:
            batch.append(record)
            if len(batch) == BATCH:
                self._writer.put(batch)
                batch = []
        self._writer.put(batch)

    async def _serve(self, peer: Peer, request: control.Request) -> object:
        del peer
        match request:
            case control.Follow():
                return self._followers.stream()
            case control.Ask():
                record = Record(key=request.key, state=State.ALLOWED, version=1, registered=True)
                self._writer.put([record])
                self._followers.announce((request.key,))
                return record
            case _:
                raise Refused("unknown", "the bench needs no more")


async def main(socket: str, folder: str, control_path: Path, known: int, blocked: int) -> None:
    """Serve until killed."""
    desk = Desk(socket, folder)
    desk.fill(known, blocked)
    await desk.server.start()
    await remote.serve(control_path, desk.handle)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])))
