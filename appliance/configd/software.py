"""The verbs about software: an update comes in piece by piece, and an order is left for the unit that may write to the slots.

configd may not: it keeps the folder, and starts `sentry-software.service`, which reads the order there and takes no word from
anybody. Whose signature an update has is that unit's to judge.
"""

import base64
import binascii
import threading
from collections.abc import Callable

from appliance.configd import api
from appliance.configd.errors import refused
from appliance.configd.sessions import Held
from appliance.software.carrying import CarryError, slot_of
from appliance.software.spool import VERSION_FILE, Letter, Order, Slot, Slots, Spool, SpoolError, Told
from appliance.system import Machine

UNIT = "sentry-software.service"
COMMAND_LINE = "/proc/cmdline"
AT_WORK = ("active", "activating")
BEGIN_SECONDS = 120.0  # for the unit to begin with an order: RAUC is started before it, and the ESP mounted
STALE_SECONDS = 60.0  # an upload of which nothing has come for so long makes room for another


class Software:
    """The verbs, over the folder `spool`. `clock` is monotonic; `sessions` are those that are open."""

    def __init__(
        self,
        machine: Machine,
        spool: Spool,
        *,
        clock: Callable[[], float],
        sessions: Callable[[], tuple[Held, ...]],
    ) -> None:
        self._machine = machine
        self._spool = spool
        self._sessions = sessions
        self._clock = clock
        self._lock = threading.Lock()
        self._uploader = ""
        self._touched = 0.0
        self._ordered = -BEGIN_SECONDS

    def read(self, _verb: api.ReadSoftware, _held: Held) -> api.Software:
        """What runs, what the slots hold, what was uploaded, and how the last order went."""
        return self._told()

    def upload(self, verb: api.UploadSoftware, held: Held) -> int:
        """The next piece of an update; how many bytes are here now."""
        self._image()
        try:
            data = base64.b64decode(verb.data, validate=True)
        except binascii.Error as error:
            raise refused(
                "invalid", f"data: found no base64 ({error}); allowed: bytes of an update in base64"
            ) from error
        with self._lock:
            self._refuse_while_at_work()
            self._refuse_out_of_turn(verb.offset, held)
            if not verb.offset and not verb.data:  # somebody asks whether they may
                return 0
            self._uploader, self._touched = held.handle, self._clock()
            try:
                if verb.offset == 0:
                    self._spool.begin()
                here = self._spool.add(verb.offset, data)
                if verb.last:
                    self._uploader = ""
                    return self._spool.finish()
                return here
            except SpoolError as error:
                self._uploader = ""
                raise refused("invalid", str(error)) from error

    def update(self, verb: api.UpdateSoftware, held: Held) -> api.Software:
        """Have the update that was uploaded written into the slot that does not run."""
        if self._image() and not self._spool.uploaded():
            raise refused("invalid", "found no update here; allowed: this once one was uploaded (REST API, portal)")
        return self._order(Order(kind="update", by=held.user, allow_older=verb.allow_older))

    def roll_back(self, _verb: api.RollBackSoftware, held: Held) -> api.Software:
        """Have the next start take the other slot."""
        self._image()
        return self._order(Order(kind="rollback", by=held.user))

    # --- what they share -----------------------------------------------------------------------------------------

    def _order(self, order: Order) -> api.Software:
        with self._lock:
            self._refuse_while_at_work()
            self._spool.leave(order)
            # What became of the one before is not what becomes of this one.
            self._spool.tell(Told(kind=order.kind, by=order.by, began=""))
            self._ordered = self._clock()
            self._machine.run(["systemctl", "--no-block", "start", UNIT])
        return self._told()

    def _refuse_while_at_work(self) -> None:
        if self._at_work():
            raise refused("conflict", "an order about the software is being carried out; look again when it has ended")

    def _at_work(self) -> bool:
        waits = self._spool.order() is not None and self._clock() - self._ordered < BEGIN_SECONDS
        return waits or self._machine.unit(UNIT).active in AT_WORK

    def _refuse_out_of_turn(self, offset: int, held: Held) -> None:
        """One session uploads at a time; who begins anew while another does waits until that is done or has stopped."""
        if self._uploader == held.handle:
            return
        there = any(one.handle == self._uploader for one in self._sessions())
        busy = there and self._clock() - self._touched < STALE_SECONDS
        if busy or offset:
            raise refused("conflict", "somebody else is uploading; begin anew when that has ended")

    def _image(self) -> str:
        """The version that runs; refused on a machine that is no image."""
        found = (self._machine.read(VERSION_FILE) or "").strip()
        if not found:
            raise refused("unavailable", "this machine was provisioned and is no image: its software comes by Ansible")
        return found

    def _told(self) -> api.Software:
        version = (self._machine.read(VERSION_FILE) or "").strip()
        if not version:
            return api.Software(image=False)
        try:
            running = slot_of(self._machine.read(COMMAND_LINE) or "")
        except CarryError as error:
            raise refused("unavailable", str(error)) from error
        with self._lock:  # no order begins meanwhile
            at_work = self._at_work()  # before what it leaves is read: one may end at any moment
            told = self._spool.told()
        slots = self._spool.slots() or Slots(next=running)
        return api.Software(
            image=True,
            version=version,
            running=running,
            next=slots.next,
            slots=(_slot("a", slots.a), _slot("b", slots.b)),
            uploaded=self._spool.uploaded(),
            order=_order(told, at_work=at_work),
        )


def _slot(name: Letter, slot: Slot) -> api.SoftwareSlot:
    return api.SoftwareSlot(
        name=name, version=slot.version, state=slot.state, verified=slot.verified, damage=slot.damage
    )


def _order(told: Told | None, *, at_work: bool) -> api.SoftwareOrder | None:
    """How an order stands. One that neither ended nor is at work was cut short: by a restart, or before it began."""
    if told is None:
        return None
    problem = told.problem
    if not told.ended and not at_work:
        problem = "it was cut short; give the order again"
    return api.SoftwareOrder(
        kind=told.kind,
        by=told.by,
        standing="failed" if problem else "done" if told.ended else "running",
        began=told.began,
        ended=told.ended,
        problem=problem,
    )
