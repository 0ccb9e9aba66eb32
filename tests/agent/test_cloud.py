"""The Cloud manner: agent and UEM as real processes, the agent only calls. Steps of the guide are cited where they are shown."""

import asyncio
from typing import Any

import msgspec
import pytest

from sentry_runtime import control
from sentry_runtime.control import ControlError
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State
from sentry_runtime.settings import Administrator, CheckIns, Gateway, Licence, Listener
from sentry_runtime.settings import Backend as BackendSettings
from sentry_runtime.uem.api import Decision
from sentry_runtime.uem.cloud import STRANGERS
from tests.agent.conftest import MakeStage
from tests.agent.stage import Stage
from tests.agent.test_administration import admin
from tests.agent.test_policies import details, register
from tests.agent.test_three_processes import device
from tests.gateway.stand import PHONE, Backend, post
from tests.ports import free_port

ANNA = DeviceKey("C1", "anna@lab.test")
BOB = DeviceKey("B1", "bob@lab.test")
NEVER = 80_000.0  # seconds: only what is forced happens


def cloudy(stage: Stage, seconds: float = NEVER, **uem: Any) -> Stage:
    """The same stage in mode cloud: no port for pushes, and nobody who pushes."""
    assert stage.settings.uem_server is not None
    link = msgspec.structs.replace(
        stage.settings.agent.uem,
        mode="cloud",
        push_tls=None,
        check_ins=CheckIns(compliance_seconds=seconds, actions_seconds=seconds, inventory_seconds=seconds),
    )
    peers = tuple(msgspec.structs.replace(one, push_url="") for one in stage.settings.uem_server.sentrys)
    server = msgspec.structs.replace(stage.settings.uem_server, sentrys=peers, **uem)
    agent = msgspec.structs.replace(stage.settings.agent, uem=link)
    stage.settings = msgspec.structs.replace(stage.settings, uem_server=server, agent=agent)
    return stage


@pytest.fixture
def cloud(make_stage: MakeStage) -> Stage:
    """A UEM in the box and an agent that only calls it, when it is told to."""
    return cloudy(make_stage())


def check_in(stage: Stage) -> control.CheckedIn:
    """What the command does."""
    done = control.call(stage.paths.agent_socket, control.CheckIn(), control.CheckedIn)
    assert isinstance(done, control.CheckedIn)
    return done


def say(stage: Stage, word: control.Request) -> None:
    """An administrator's word at the UEM."""
    control.call(stage.paths.uem_admin, word)


def known(stage: Stage) -> dict[DeviceKey, Decision]:
    """What the UEM's administrators see."""
    found = control.call(stage.paths.uem_admin, control.ListRegistered(), list[Decision])
    return {DeviceKey(one.device_id, one.principal): one for one in found}


def entry(stage: Stage, key: DeviceKey) -> Record | None:
    """The device list's word."""
    return next((one for one in stage.listed() if one.key == key), None)


def block(key: DeviceKey) -> control.SetState:
    """By hand."""
    return control.SetState(device_id=key.device_id, principal=key.principal, state=State.BLOCKED)


def started(stage: Stage) -> Stage:
    """The agent runs and has checked in once, of itself."""
    stage.agent()
    stage.wait(lambda: stage.status()["check_ins_inventory"] == 1)
    return stage


@pytest.mark.shows("cloud 2", "cloud 3", "cloud 4", "cloud 6")
def test_a_first_contact_is_matched_here_and_told_by_the_inventory(cloud: Stage) -> None:
    """Two candidates, the exact one decides; a device that matches none is blocked here, and the UEM hears of it afterwards."""
    cloud.uem()
    started(cloud)
    register(cloud, ANNA)
    assert cloud.ask(ANNA).state is State.ALLOWED
    assert cloud.ask(BOB).reasons == (Reason.UNREGISTERED,)
    assert entry(cloud, BOB) is not None
    assert BOB not in known(cloud)
    assert check_in(cloud).inventory == 2
    assert known(cloud)[BOB].state is State.BLOCKED
    assert check_in(cloud).inventory == 0


@pytest.mark.shows("cloud periodic", "cloud breach", "cloud start")
def test_a_check_in_brings_breaches_and_what_administrators_did(cloud: Stage) -> None:
    """Each by its own check-in."""
    cloud.uem()
    register(cloud, ANNA)
    register(cloud, BOB)
    started(cloud)
    assert {one.key for one in cloud.listed()} == {ANNA, BOB}
    breach = control.Flag(device_id=ANNA.device_id, principal=ANNA.principal, cause=Reason.COMPROMISED, holds=True)
    say(cloud, breach)
    say(cloud, block(BOB))
    done = check_in(cloud)
    assert (done.compliance, done.actions) == (1, 1)
    anna, bob = entry(cloud, ANNA), entry(cloud, BOB)
    assert anna is not None
    assert bob is not None
    assert (anna.reasons, bob.state) == ((Reason.COMPROMISED,), State.BLOCKED)
    say(cloud, control.Remove(device_id=BOB.device_id, principal=BOB.principal))
    assert check_in(cloud).actions == 1
    assert entry(cloud, BOB) is None
    assert BOB not in known(cloud)  # the inventory of the same check-in does not bring it back


@pytest.mark.shows("cloud schedules")
def test_the_three_check_ins_come_by_themselves(make_stage: MakeStage) -> None:
    """Nobody says so, and nobody is pushed to."""
    stage = cloudy(make_stage(), seconds=0.3)
    stage.uem()
    started(stage)
    register(stage, ANNA)
    stage.wait(lambda: entry(stage, ANNA) is not None)
    say(stage, block(ANNA))
    stage.wait(lambda: getattr(entry(stage, ANNA), "state", None) is State.BLOCKED)
    stage.wait(lambda: stage.status()["inventory_told"] == 1)
    status = stage.status()
    assert status["pushes"] == 0
    assert status["digests"] == "none"


def test_an_unregistered_device_that_another_sentry_has_is_not_unmanaged_here(cloud: Stage) -> None:
    """The UEM knows it from another's inventory and an administrator allowed it: this one allows it at its first contact."""
    cloud.uem()
    started(cloud)
    say(cloud, control.SetState(device_id=BOB.device_id, principal=BOB.principal, state=State.ALLOWED))
    record = cloud.ask(BOB)
    assert (record.state, record.registered) == (State.ALLOWED, False)


@pytest.mark.shows("cloud away 1")
def test_the_fail_mode_is_what_the_cloud_has_set_also_after_a_restart(make_stage: MakeStage) -> None:
    """The site's is `block`; the Cloud says `allow`, and is away then."""
    stage = cloudy(make_stage(fail_mode="block"), fail_mode="allow")
    uem = stage.uem()
    stage.agent()
    stage.wait(lambda: stage.status()["cloud_fail_mode"] == "allow")
    uem.kill()
    stage.running[-1].terminate()
    stage.agent()
    stage.wait(lambda: stage.status()["link"] == "down")
    record = stage.ask(ANNA)
    assert (record.state, record.provisional) == (State.ALLOWED, True)


def test_before_the_clouds_first_word_a_new_device_is_blocked(make_stage: MakeStage) -> None:
    """Whatever the site says: it is the Cloud's setting."""
    stage = cloudy(make_stage(fail_mode="allow"), fail_mode="allow")
    stage.agent()
    stage.wait(lambda: stage.status()["link"] == "down")
    assert stage.ask(ANNA).reasons == (Reason.UEM_UNREACHABLE,)


def test_a_forced_check_in_says_why_it_could_not_be(cloud: Stage) -> None:
    """In other modes there is nothing to check in with; without a Cloud nobody answers."""
    cloud.agent()
    with pytest.raises(ControlError, match="Connect call failed"):
        check_in(cloud)


def test_in_mode_embedded_a_check_in_is_not_applicable(stage: Stage) -> None:
    """The UEM's pushes and the resync do that there."""
    stage.agent()
    with pytest.raises(ControlError, match="not applicable"):
        check_in(stage)


def test_a_uem_that_was_restarted_is_told_the_whole_inventory_again(cloud: Stage) -> None:
    """It does not have what the delta goes on from, says so, and gets all of it."""
    uem = cloud.uem()
    started(cloud)
    register(cloud, ANNA)
    cloud.ask(ANNA)
    assert check_in(cloud).inventory == 1
    uem.kill()
    cloud.uem()
    register(cloud, BOB)
    assert check_in(cloud).inventory == 2


async def test_nobody_listens_on_the_port_for_pushes(cloud: Stage) -> None:
    """It is closed."""
    cloud.agent()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", cloud.push_port)


def licensed(make_stage: MakeStage, level: Licence) -> Stage:
    """A Cloud of this level that an administrator with the certificate `boss` administers."""
    boss = Administrator(name="olga", subject="CN=boss")
    return cloudy(make_stage(), licence=level, administrators=(boss,))


def put_tunnel(stage: Stage) -> tuple[int, Any]:
    """A server for the apps of the staff's devices."""
    wiki = {"name": "wiki", "host": "wiki.lab.test", "port": 443, "labels": ["staff"]}
    return admin(stage, "PUT", "tunnels", wiki)


@pytest.mark.shows("core start 3")
def test_at_its_start_a_sentry_has_the_devices_app_tunnels(make_stage: MakeStage) -> None:
    """In the Core manner: before any of the devices comes, and a device without any has none."""
    stage = make_stage()
    assert stage.settings.uem_server is not None
    boss = Administrator(name="olga", subject="CN=boss")
    server = msgspec.structs.replace(stage.settings.uem_server, administrators=(boss,))
    stage.settings = msgspec.structs.replace(stage.settings, uem_server=server)
    stage.uem()
    register(stage, ANNA)
    register(stage, BOB)
    assert admin(stage, "PUT", "labels", {"name": "staff"})[0] == 204
    assert put_tunnel(stage)[0] == 204
    assert admin(stage, "PUT", "users", {"principal": ANNA.principal, "labels": ["staff"]})[0] == 204
    stage.agent()
    stage.wait(lambda: len(stage.listed()) == 2)
    assert [one.host for one in details(stage, ANNA).tunnels or ()] == ["wiki.lab.test"]
    assert details(stage, BOB).tunnels == ()
    assert stage.status()["questions"] == 0


def test_without_the_licence_the_uem_takes_no_app_tunnel(make_stage: MakeStage) -> None:
    """And says which level it needs."""
    stage = licensed(make_stage, "gold")
    stage.uem()
    assert admin(stage, "PUT", "labels", {"name": "staff"})[0] == 204
    status, answer = put_tunnel(stage)
    assert (status, answer["detail"]) == (400, "AppTunnel needs the licence level platinum, this one is gold")


@pytest.mark.shows("cloud start 2")
@pytest.mark.parametrize(("level", "names"), [("platinum", ["wiki"]), ("gold", [])])
def test_a_sentry_keeps_no_app_tunnel_that_the_licence_lacks(
    make_stage: MakeStage, level: Licence, names: list[str]
) -> None:
    """The Cloud had the higher level when the tunnel was made; with the lower one the device comes without it."""
    stage = licensed(make_stage, "platinum")
    uem = stage.uem()
    register(stage, ANNA)
    assert admin(stage, "PUT", "labels", {"name": "staff"})[0] == 204
    assert put_tunnel(stage)[0] == 204
    user = {"principal": ANNA.principal, "labels": ["staff"]}
    assert admin(stage, "PUT", "users", user)[0] == 204
    uem.terminate()
    assert stage.settings.uem_server is not None
    server = msgspec.structs.replace(stage.settings.uem_server, licence=level)
    stage.settings = msgspec.structs.replace(stage.settings, uem_server=server)
    stage.uem()
    started(stage)
    tunnels = details(stage, ANNA).tunnels
    assert tunnels is not None
    assert [one.name for one in tunnels] == names
    status = stage.status()
    assert status["cloud_licence"] == level
    assert status["cloud_licence_lacks"] == ("" if level == "platinum" else "tunnel, app_tunnel")
    assert status["cloud_tunnels_refused"] == len({"wiki"} - set(names))


def test_one_principal_has_so_many_unmanaged_devices_and_no_more(make_stage: MakeStage) -> None:
    """Though unmanaged devices pass: who has one password invents no device list."""
    stage = cloudy(make_stage(), auto_block_unregistered=False)
    stage.uem()
    started(stage)
    for number in range(STRANGERS):
        assert stage.ask(DeviceKey(f"X{number}", BOB.principal)).state is State.ALLOWED
    with pytest.raises(ControlError, match="no more are taken"):
        stage.ask(DeviceKey("ONEMORE", BOB.principal))
    assert check_in(stage).inventory == STRANGERS
    with pytest.raises(ControlError, match="more are not taken"):
        stage.ask(DeviceKey("ONEMORE", BOB.principal))
    assert stage.ask(ANNA).state is State.ALLOWED


@pytest.mark.shows("cloud 1", "cloud 5", "cloud 5 not", "cloud again")
async def test_a_device_of_the_cloud_manner_reads_its_mail_or_does_not(cloud: Stage, backend: Backend) -> None:
    """With a gateway in front: the word that the agent made is what the device feels."""
    listener = msgspec.structs.replace(cloud.pki.server("uem"), client_ca=None)
    cloud.settings = msgspec.structs.replace(
        cloud.settings,
        gateway=Gateway(
            listeners=(Listener(address="127.0.0.1", port=free_port()),),
            tls=listener,
            backends=(BackendSettings(name="mail", host="127.0.0.1", port=backend.port),),
        ),
        paths=msgspec.structs.replace(cloud.settings.paths, gateway_control=str(cloud.folder / "gateway.sock")),
    )
    cloud.uem()
    await asyncio.to_thread(register, cloud, PHONE)
    cloud.agent()
    cloud.start("gateway")
    phone = await device(cloud)
    assert (await phone.ask(post(version="12.1"))).status == 200
    await asyncio.to_thread(say, cloud, block(PHONE))
    await asyncio.to_thread(check_in, cloud)
    await phone.close()
    phone = await device(cloud)
    assert (await phone.ask(post(version="12.1"))).status == 403
    await phone.close()
