"""The verbs about what is taken away from the appliance: make a support bundle, hand a file out piece by piece, drop one."""

import base64
import threading
import time
from collections.abc import Callable

from appliance.apply import Engine, stamp
from appliance.backup.contents import own_secrets
from appliance.configd import api
from appliance.configd.errors import refused
from appliance.configd.facts.context import Context
from appliance.configd.gathering import gather
from appliance.configd.sessions import Held
from appliance.support.packing import packed
from appliance.support.scrubbing import Scrubber, words
from appliance.support.shelf import KEPT_SECONDS, Laid, Shelf


class Support:
    """The verbs. `shelf` is where files wait to be fetched; `clock` is monotonic."""

    def __init__(
        self,
        engine: Engine,
        shelf: Shelf,
        context: Callable[[], Context],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._shelf = shelf
        self._context = context
        self._clock = clock
        self._making = threading.Lock()

    def make(self, _verb: api.MakeBundle, held: Held) -> api.Download:
        """A bundle on the shelf. Raises a `conflict` refusal while another one is being made, `ShelfError`, `OSError`."""
        if not self._making.acquire(blocking=False):
            raise refused("conflict", "another bundle is being made; try again in a minute")
        try:
            self._shelf.check_room()  # before the work, not after it
            context = self._context()
            own = own_secrets(context.tree, self._engine.machine)
            scrubber = Scrubber((*self._engine.vault.values(), *own, *words(own)))
            parts = gather(context, held.user, clock=self._clock)
            clean = {name: scrubber.clean(text) for name, text in parts.items()}
            return told(self._shelf.put("bundle", packed(clean, context.now)))
        finally:
            self._making.release()

    def fetch(self, verb: api.FetchDownload, _held: Held) -> api.Piece:
        """A piece of a file; the one behind the last deletes it."""
        laid, data = self._shelf.piece(verb.name, verb.offset)
        return api.Piece(
            name=laid.name,
            size=laid.size,
            offset=verb.offset,
            content=base64.b64encode(data).decode(),
            last=verb.offset + len(data) >= laid.size,
        )

    def drop(self, verb: api.DropDownload, _held: Held) -> None:
        """Delete a file that nobody wants any more."""
        self._shelf.drop(verb.name)


def told(laid: Laid) -> api.Download:
    """A file as it is told of."""
    return api.Download(
        name=laid.name, kind=laid.kind, when=stamp(laid.when), until=stamp(laid.when + KEPT_SECONDS), size=laid.size
    )
