"""The device list holds one UEM's words: with another one it begins anew, but for orders to wipe."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from sentry_runtime.agent import origin
from sentry_runtime.devices.record import DeviceKey, Record, State, Wipe, WipeKind
from sentry_runtime.devices.store import Saying, StoreError, Writer
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy, digest
from sentry_runtime.settings import ClientTls, Epmm, Intune, UemLink
from tests.unit.agent.ears import Ears

ANNA, BERT, GONE = (DeviceKey(name, "anna@lab.test") for name in ("A", "B", "C"))
BOXED = UemLink(mode="embedded", url="https://127.0.0.1:9443", tls=ClientTls(trust="/t"))
CORE = UemLink(mode="epmm", url="https://core", tls=ClientTls(trust="/t"), adapter=Epmm(account="a", password="/p"))
INTUNE = Intune(login_url="https://l", tenant="lab.test", client="c", secret="/s")
CLOUD = UemLink(mode="intune", url="https://graph", tls=ClientTls(trust="/t"), adapter=INTUNE)
WIPE = Wipe(kind=WipeKind.DEVICE, order=4)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Writer]:
    """An allowed phone with a policy and a word of itself, one that is to be wiped, and one that was removed."""
    made = Writer(tmp_path)
    policy = Policy(allow_camera=False)
    made.write(
        put=[
            Record(key=ANNA, state=State.ALLOWED, version=5, policy=digest(policy)),
            Record(key=BERT, state=State.WIPE_PENDING, version=6, wipe=WIPE, policy=digest(policy)),
        ],
        removed_at=[(GONE, 99)],
        cursor=7,
        policies=[policy],
        says={ANNA: Saying(DeviceInformation(model="m"))},
    )
    yield made
    made.close()


def state(store: Writer) -> tuple[list[DeviceKey], int, int, int]:
    """Entries, cursor, the removal that is remembered, and how many sayings there are."""
    entries = [record.key for record in store.iterate()]
    return entries, store.cursor, store.removed_at(GONE), len(list(store.sayings()))


WHOLE = ([ANNA, BERT], 7, 99, 1)


def test_the_same_uem_finds_its_list(store: Writer, tmp_path: Path) -> None:
    """One that speaks our protocol also where there is no word of it yet."""
    for _ in range(2):
        origin.settle(store, tmp_path, BOXED, Ears().audit)
        assert state(store) == WHOLE


@pytest.mark.parametrize("other", [CORE, CLOUD])
def test_another_uem_begins_with_an_empty_list(store: Writer, tmp_path: Path, other: UemLink) -> None:
    """Nothing that the old one said stands, its removals neither; an order to wipe does. There and back again."""
    ears = Ears()
    origin.settle(store, tmp_path, other, ears.audit)
    assert state(store) == ([BERT], 0, 0, 0)
    held = store.get(BERT)
    assert held is not None
    assert (held.state, held.wipe, held.policy) == (State.WIPE_PENDING, WIPE, b"")
    assert store.policy(digest(Policy(allow_camera=False))) is None
    store.put([Record(key=ANNA, state=State.ALLOWED, version=10**12)])
    origin.settle(store, tmp_path, other, ears.audit)
    assert state(store)[0] == [ANNA, BERT]
    origin.settle(store, tmp_path, BOXED, ears.audit)
    assert state(store)[0] == [BERT]
    assert ears.events == ["device_list_begun_anew"] * 2


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (CORE, msgspec.structs.replace(CORE, url="https://other"), False),
        (CORE, msgspec.structs.replace(CORE, adapter=Epmm(account="a", password="/p", device_space=2)), False),
        (CORE, msgspec.structs.replace(CORE, adapter=Epmm(account="a", password="/p", principal="mailbox")), False),
        (CORE, msgspec.structs.replace(CORE, adapter=Epmm(account="b", password="/q", contact_days=5)), True),
        (CLOUD, msgspec.structs.replace(CLOUD, adapter=msgspec.structs.replace(INTUNE, tenant="other")), False),
        (CLOUD, msgspec.structs.replace(CLOUD, adapter=msgspec.structs.replace(INTUNE, client="d")), True),
        (BOXED, msgspec.structs.replace(BOXED, mode="core", url="https://uem.lab.test"), True),
        (CORE, CLOUD, False),
        (CORE, BOXED, False),
    ],
)
def test_which_uem_it_is(one: UemLink, other: UemLink, *, same: bool) -> None:
    """Where it is, which part of it, and by which names its users are known; not by which account it is asked."""
    assert (origin.of(one) == origin.of(other)) == same


def test_a_folder_that_cannot_be_written_is_said(store: Writer, tmp_path: Path) -> None:
    """The agent does not start with a list of which it is not known whose it is."""
    (tmp_path / "origin.new").mkdir()
    with pytest.raises(StoreError, match=r"origin: cannot be written"):
        origin.settle(store, tmp_path, CORE, Ears().audit)


def test_each_cloud_is_a_uem_of_its_own() -> None:
    """It compares no digests, so what another one said would never be found wrong."""
    here = UemLink(mode="cloud", url="https://here.lab.test", tls=ClientTls(trust="t"))
    there = msgspec.structs.replace(here, url="https://there.lab.test")
    assert len({origin.of(here), origin.of(there), origin.PROTOCOL}) == 3
