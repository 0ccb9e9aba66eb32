"""Certificates brought to where the configuration and the clock want them, between commits and in a commit's manners."""

from collections.abc import Callable, Collection
from datetime import datetime

from appliance import keyring, obtained, pki, served
from appliance.apply import Engine
from appliance.features.base import Tree
from appliance.features.tls import AUTHORITY, certificate_path, key_path
from appliance.system import Machine
from appliance.vet import ApplyError

FILES = (
    AUTHORITY,
    pki.AUTHORITY_KEY,
    *(path for leaf in pki.LEAVES for path in (certificate_path(leaf.name), key_path(leaf.name))),
    *(path for service in served.SERVICES for path in (obtained.path(service), keyring.order_path(service))),
)
"""What may change, and stands as before where the change fails."""


def _nothing(_machine: Machine) -> None:
    return


def bring(
    engine: Engine,
    *,
    clock: Callable[[], datetime],
    anew: Collection[str] = (),
    first: Callable[[Machine], None] = _nothing,
) -> tuple[str, ...]:
    """Have every service show what it is to show now; returns whose certificate is another one. `first` is done before.

    A service that does not run after it was told of its new certificate has the old one back. Raises `ConflictError` or
    `ApplyError`.
    """

    def work(tree: Tree, machine: Machine) -> tuple[str, ...]:
        before = {leaf.unit: machine.unit(leaf.unit).active for leaf in pki.LEAVES}
        first(machine)
        made = pki.ensure(tree, machine, clock=clock, anew=anew)
        units = sorted({leaf.unit for leaf in pki.LEAVES if leaf.name in made and before[leaf.unit] == "active"})
        for unit in units:
            state = machine.unit(unit)
            if state.failed:
                raise ApplyError(f"{unit} is {state.active} with its new certificate: {machine.last_words(unit)}")
        return made

    try:
        return engine.tend(FILES, work) or ()
    except ApplyError:
        for unit in sorted({leaf.unit for leaf in pki.LEAVES}):  # the files are the old ones again
            if engine.machine.unit(unit).failed:
                engine.machine.act(unit, "restart")
        raise
