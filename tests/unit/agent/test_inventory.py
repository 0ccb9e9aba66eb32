"""The inventory that a Cloud is told: everything once, afterwards what is new."""

from collections.abc import Sequence

import msgspec
import pytest

from sentry_runtime.agent.changes import Admitted
from sentry_runtime.agent.device_list import DeviceList
from sentry_runtime.agent.inventory import Inventories
from sentry_runtime.devices.record import DeviceKey, Record, State
from sentry_runtime.devices.tunnel import AppTunnel
from sentry_runtime.uem.api import Decision
from sentry_runtime.uem.cloud import InventoryLostError
from sentry_runtime.uem.cloud_api import INVENTORY_PER_PAGE, Inventory
from sentry_runtime.uem.link import LinkSlowError
from sentry_runtime.uem.messages import WORDS_CHARS, decode
from sentry_runtime.uem_server.api import CONTACT_BYTES


class Cloud:
    """Takes inventories in their order, as the protocol wants it; `trouble` is raised once, after so many more pages."""

    def __init__(self) -> None:
        self.last = 0
        self.taken: list[Inventory] = []
        self.strangers: Sequence[str] = ()
        self.slow_after: int | None = None

    async def report_inventory(self, inventory: Inventory) -> None:
        """409 for what does not go on from the last."""
        if self.slow_after is not None:
            self.slow_after -= 1
            if self.slow_after < 0:
                self.slow_after = None
                raise LinkSlowError("no answer within 5 s")
        if inventory.after not in (0, self.last):
            raise InventoryLostError("it does not go on")
        self.last = inventory.number
        self.taken.append(inventory)

    def inventory_told(self) -> None:
        """Not looked at."""

    def know_strangers(self, principals: Sequence[str]) -> None:
        """Who has unmanaged devices."""
        self.strangers = principals

    def told(self) -> list[str]:
        """The devices since the last look, in the order in which they came."""
        found = [one.device_id for page in self.taken for one in page.tunnels]
        self.taken = []
        return found


def word(device_id: str, version: int, state: State = State.ALLOWED, *, registered: bool = True) -> Decision:
    """Of Anna's device."""
    return Decision(device_id=device_id, principal="anna@lab.test", state=state, version=version, registered=registered)


@pytest.fixture
def cloud() -> Cloud:
    """Has heard nothing."""
    return Cloud()


@pytest.mark.shows("cloud 6")
async def test_each_is_told_once_and_then_what_is_new(devices: DeviceList, cloud: Cloud) -> None:
    """A new one, a changed one, one that is gone; a new version alone is no news."""
    inventories = Inventories(devices, cloud)
    await devices.take([word("C1", 1), word("C2", 2)])
    assert await inventories.report() == 2
    assert cloud.told() == ["C1", "C2"]
    assert await inventories.report() == 0
    assert cloud.taken == []
    removed = Decision(
        device_id="C1", principal="anna@lab.test", state=State.ALLOWED, version=4, registered=True, removed=True
    )
    await devices.take([word("C2", 3), word("C3", 3), removed])
    assert await inventories.report() == 2
    assert [page.gone for page in cloud.taken] == [(), (DeviceKey("C1", "anna@lab.test"),)]
    assert cloud.told() == ["C3"]
    await devices.take([word("C2", 5, State.BLOCKED)])
    assert await inventories.report() == 1
    assert cloud.told() == ["C2"]
    assert inventories.told == 2


async def test_no_page_is_larger_than_the_uem_takes(devices: DeviceList, cloud: Cloud) -> None:
    """Long names, which anybody with a password can give a device, would else stop the inventory of all devices for ever."""
    many = INVENTORY_PER_PAGE + 5
    words = [
        msgspec.structs.replace(
            word(f"{number:064}", number + 1),
            principal=f"{'ä' * 100}@{'b' * 100}.test",
            device_type="\U0001d51b" * WORDS_CHARS,
        )
        for number in range(many)
    ]
    await devices.take(words)
    inventories = Inventories(devices, cloud)
    assert await inventories.report() == many
    sizes = [len(msgspec.json.encode(page)) for page in cloud.taken]
    assert max(sizes) <= CONTACT_BYTES
    assert len(sizes) > 2
    assert cloud.told() == [one.device_id for one in words]
    await devices.take([msgspec.structs.replace(one, version=one.version + many, removed=True) for one in words])
    assert await inventories.report() == many
    assert sum(len(page.gone) for page in cloud.taken) == many
    assert all(len(msgspec.json.encode(page)) <= CONTACT_BYTES for page in cloud.taken)
    assert all(msgspec.json.encode(decode(msgspec.json.encode(page), Inventory)) for page in cloud.taken)


async def test_an_empty_list_is_said_too_but_once(devices: DeviceList, cloud: Cloud) -> None:
    """So the Cloud knows that it has all of it."""
    inventories = Inventories(devices, cloud)
    assert (await inventories.report(), await inventories.report()) == (0, 0)
    assert cloud.taken == [Inventory(after=0, number=1)]


async def test_app_tunnels_go_with_their_device(devices: DeviceList, cloud: Cloud) -> None:
    """By their names; another one is news."""
    inventories = Inventories(devices, cloud)
    tunnels = tuple(AppTunnel(name=name, host="wiki", port=443) for name in ("Wiki", "Docs"))
    for version, held in ((1, tunnels[:1]), (2, tunnels)):
        decision = Decision(
            device_id="C1", principal="anna@lab.test", state=State.ALLOWED, version=version, tunnels=held
        )
        await devices.take([decision])
        assert await inventories.report() == 1
    assert [page.tunnels[0].apps for page in cloud.taken] == [("Wiki",), ("Wiki", "Docs")]


async def test_what_was_not_confirmed_is_told_again(devices: DeviceList, cloud: Cloud) -> None:
    """Page by page: the first was taken, the second was not."""
    inventories = Inventories(devices, cloud)
    names = [f"C{number:03}" for number in range(INVENTORY_PER_PAGE + 5)]
    await devices.take(word(name, place) for place, name in enumerate(names, 1))
    cloud.slow_after = 1
    with pytest.raises(LinkSlowError):
        await inventories.report()
    assert cloud.told() == names[:INVENTORY_PER_PAGE]
    assert await inventories.report() == 5
    assert cloud.told() == names[INVENTORY_PER_PAGE:]


async def test_a_cloud_that_does_not_have_the_last_one_is_told_all(devices: DeviceList, cloud: Cloud) -> None:
    """It was restarted."""
    inventories = Inventories(devices, cloud)
    await devices.take([word("C1", 1)])
    await inventories.report()
    cloud.last = 0
    cloud.told()
    await devices.take([word("C2", 2)])
    assert await inventories.report() == 2
    assert cloud.told() == ["C1", "C2"]


async def test_guesses_are_not_told_and_strangers_are_counted(devices: DeviceList, cloud: Cloud) -> None:
    """What the fail mode let in is no entry for the Cloud; who has unmanaged devices is known to the link."""
    guess = Record(key=DeviceKey("G1", "bob@lab.test"), state=State.ALLOWED, version=0, provisional=True)
    await devices.take([Admitted(guess), word("C1", 1, registered=False), word("C2", 2)])
    assert await Inventories(devices, cloud).report() == 2
    assert cloud.told() == ["C1", "C2"]
    assert cloud.strangers == ["anna@lab.test"]
