"""Search in the device list: page by page from the agent, until enough is found."""

import itertools
from collections import Counter
from collections.abc import Iterator

from appliance.configd.api import DevicePage, Facts, SearchDevices
from appliance.configd.facts import sentry
from appliance.configd.facts.context import Context, Topic
from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey, Record, State

FOUND = 50  # of one answer: what a person reads on a screen
COUNTED = 20_000  # entries that are looked at to count states: a tenth of a second, also for who looks every 30 seconds
DEVICES = 400_000  # more than the list holds; bounds the work of one search


def records(context: Context, after: DeviceKey | None = None) -> Iterator[Record]:
    """The device list in key order, from behind `after` on."""
    seen = 0
    while seen < DEVICES:
        request = control.ListDevices(after=after, limit=sentry.PAGE)
        page: list[Record] = context.call(context.paths.agent_socket, request, list[Record])
        if not page:  # a short page is no sign of the end: a line's size bounds it too
            return
        yield from page
        seen += len(page)
        after = page[-1].key


def search(verb: SearchDevices, context: Context) -> DevicePage:
    """What the verb asks for."""
    text = verb.text.casefold()
    found: list[Record] = []
    for record in records(context, DeviceKey(verb.after_device, verb.after_user) if verb.after_device else None):
        if verb.state and record.state.value != verb.state:
            continue
        if text and not any(
            text in one.casefold() for one in (record.key.device_id, record.key.principal, record.device_type)
        ):
            continue
        if len(found) == FOUND:
            return _page(found, more=True)
        found.append(record)
    return _page(found, more=False)


def states(context: Context, _argument: str) -> Facts:
    """How many entries there are of each state, among the first `COUNTED`."""
    counted = Counter(record.state for record in itertools.islice(records(context), COUNTED))
    facts = [(state.value, str(counted[state])) for state in State]
    if counted.total() == COUNTED:
        facts.append(("counted", f"the first {COUNTED}"))
    return Facts(title="device states", facts=tuple(facts))


def _page(found: list[Record], *, more: bool) -> DevicePage:
    return DevicePage(columns=sentry.COLUMNS, rows=tuple(map(sentry.row, found)), more=more)


TOPICS = {"device-states": Topic("how many devices there are of each state", states)}
