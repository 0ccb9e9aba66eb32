"""Devices' certificates: groups, identities, several roots, and those a front end has checked (rows 69-71, 75, 78)."""

import asyncio
import base64
import socket
import ssl
from typing import Any

import msgspec
import pytest

from sentry_runtime.certificates.certificate import read
from sentry_runtime.devices.record import DeviceKey, State
from sentry_runtime.eas.policy import Policy
from sentry_runtime.eas.provision import EAS_WBXML, Ask, encode_request
from sentry_runtime.settings import CertificateHeader, DeviceAuthentication, Listener, MappedCertificate
from tests.device_pki import DevicePki, company
from tests.gateway.conftest import MakeStand, with_limits
from tests.gateway.enforcer import Enforcer
from tests.gateway.ntlm_server import SITE, Asked, NtlmClient, log_on, start
from tests.gateway.stand import PATIENCE, PHONE, Device, Stand, basic, challenge, post, say_yes, until
from tests.gateway.test_autodiscover import ask, document
from tests.gateway.test_balancers import ANYBODY, BALANCER, HEALTH, LOCAL, connect
from tests.gateway.test_faults import change
from tests.gateway.test_provisioning import SAYS, SECRET, set_gateway
from tests.ports import free_port

OPTIONS = b"OPTIONS /Microsoft-Server-ActiveSync HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> DevicePki:
    """The company whose devices these are."""
    made = company(tmp_path_factory.mktemp("company"))
    made.bundle("believed", "root", "devices")
    made.bundle("all", "root", "devices", "servers", "other")
    return made


async def asking(make_stand: MakeStand, pki: DevicePki, mode: str, **more: Any) -> Stand:
    """A stand whose devices show certificates."""
    listener = more.pop("listener", {})
    host, started = more.pop("external_host", ""), more.pop("started", True)
    stand = await make_stand(started=False, external_host=host)
    auth = msgspec.convert({"mode": mode, "authorities": pki.path("believed"), **more}, DeviceAuthentication)
    made = (Listener(address="127.0.0.1", port=free_port(), **listener),)
    stand.settings = change(stand.settings, device_authentication=auth, listeners=made)
    if started:
        await stand.start()
    await stand.agent.put(PHONE, State.ALLOWED)
    return stand


async def shown(stand: Stand, pki: DevicePki, name: str, *, tls13: bool = False) -> Device:
    """A connection of a device with this certificate; "" has none."""
    context = ssl.create_default_context(cafile=stand.certificates.ca)
    if name:
        context.load_cert_chain(*pki.pair(name))
    async with asyncio.timeout(PATIENCE):
        device = Device(
            *await asyncio.open_connection("127.0.0.1", stand.port, ssl=context, server_hostname="mail.lab.test")
        )
    stand.devices.append(device)
    return device


async def turned_away(stand: Stand, pki: DevicePki, name: str) -> tuple[str, str]:
    """With which event and reason a device with this certificate gets no answer."""
    try:
        device = await shown(stand, pki, name)
        await device.send(OPTIONS)
        assert await device.ended() == b""
    except (ConnectionError, ssl.SSLError):
        pass
    lines = await stand.audit.wait(lambda lines: any(_turned_away(line) for line in lines))
    (line,) = [line for line in lines if _turned_away(line)]
    return line["event"], line["reasons"][0]


def _turned_away(line: dict[str, Any]) -> bool:
    return line["event"] in ("handshake_failed", "certificate_refused", "connection_silent")


async def test_a_group_certificate_opens_the_door_and_no_mailbox(make_stand: MakeStand, pki: DevicePki) -> None:
    """Row 69: with any certificate of the authorities; the credentials are asked for, and probed, as before."""
    stand = await asking(make_stand, pki, "group_certificate")
    for name in ("anna", "bert", "plain", "two"):
        device = await shown(stand, pki, name)
        assert (await device.ask(post(authorization=None))).status == 401
        assert (await device.ask(post())).status == 200
    await (await shown(stand, pki, "anna")).ask(post(device="PHONE2"))
    assert len(stand.backend.probes) == 1
    lines = await stand.audit.count(18)
    assert lines[-1]["certificate"] == read(pki.der("anna")).fingerprint


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("", ("handshake_failed", "certificate_missing")),
        ("stranger", ("handshake_failed", "certificate")),
        ("past", ("handshake_failed", "certificate")),
        ("server", ("handshake_failed", "certificate")),
        ("misused", ("handshake_failed", "certificate")),
        ("nothing", ("certificate_refused", "certificate_purpose")),
    ],
)
async def test_who_shows_no_good_certificate_gets_no_answer(
    make_stand: MakeStand, pki: DevicePki, name: str, word: tuple[str, str]
) -> None:
    """None, a stranger's, an old one, a server's, and one that does not say what it is for; each is on record."""
    stand = await asking(make_stand, pki, "group_certificate")
    assert await turned_away(stand, pki, name) == word
    assert stand.backend.connections == 0


async def test_several_roots_and_which_of_their_authorities_may_issue(make_stand: MakeStand, pki: DevicePki) -> None:
    """Row 71: two are accepted, the third refused, though a root above it is believed."""
    pki.bundle("issuers", "devices", "other")
    stand = await asking(make_stand, pki, "group_certificate", authorities=pki.path("all"), issuers=pki.path("issuers"))
    for name in ("anna", "stranger"):
        device = await shown(stand, pki, name)
        assert (await device.ask(post())).status == 200
    assert await turned_away(stand, pki, "misused") == ("certificate_refused", "certificate_issuer")
    await until(lambda: stand.status()["certificates_refused"] == 1)


async def test_an_identity_certificate_says_who_it_is(make_stand: MakeStand, pki: DevicePki) -> None:
    """Row 70: credentials and `User=` have to be the same person's; without credentials it is the certificate's."""
    stand = await asking(make_stand, pki, "identity_certificate")
    device = await shown(stand, pki, "anna")
    requests = {
        post(): 200,
        post(authorization=None): 200,
        post(authorization=basic("LAB\\anna"), user="anna"): 200,
        post(authorization=basic("bert@lab.test"), user="bert@lab.test"): 403,
        post(authorization=basic("bert@lab.test")): 403,
        post(user="bert@lab.test"): 403,
        post(authorization=None, user="bert@lab.test"): 403,
        post(authorization="Basic !"): 401,
    }
    assert {data: (await device.ask(data)).status for data in requests} == requests
    outcomes = await stand.audit.outcomes(len(requests))
    words = [one.get("reasons", [""])[0] for one in outcomes]
    assert words[3:] == ["certificate_mismatch"] * 2 + ["user_mismatch"] * 2 + ["credentials_malformed"]
    assert {one.get("principal") for one in outcomes[:3]} == {"anna@lab.test"}
    assert len(stand.backend.seen) == 3


@pytest.mark.parametrize(
    ("name", "word"), [("plain", "certificate_names_nobody"), ("two", "certificate_names_several")]
)
async def test_a_certificate_that_names_nobody_is_nobodys(
    make_stand: MakeStand, pki: DevicePki, name: str, word: str
) -> None:
    """Or two people."""
    stand = await asking(make_stand, pki, "identity_certificate")
    assert await turned_away(stand, pki, name) == ("certificate_refused", word)


async def test_a_certificate_vouches_where_a_backend_would_have_to(make_stand: MakeStand, pki: DevicePki) -> None:
    """First contact and Autodiscover ask no backend: design, "ask"; and the agent is asked about the certificate's user."""
    stand = await asking(make_stand, pki, "identity_certificate", external_host="mail.lab.test")
    device = await shown(stand, pki, "anna")
    await device.ask(post(device="PHONE2"))
    await device.ask(post(device="PHONE3", authorization=None))
    assert (await device.ask(ask(document(), authorization=None))).status == 200
    assert stand.backend.probes == []
    assert [one.key for one in stand.agent.asked] == [DeviceKey(one, "anna@lab.test") for one in ("PHONE2", "PHONE3")]


async def test_a_domain_that_only_the_credentials_name_is_not_vouched_for(
    make_stand: MakeStand, pki: DevicePki
) -> None:
    """A certificate for plain `anna` must not speak for the anna of any domain."""
    stand = await asking(make_stand, pki, "identity_certificate", mapping=["common_name"])
    device = await shown(stand, pki, "anna")
    await device.ask(post(device="PHONE2", authorization=basic("anna@elsewhere.test"), user="anna"))
    assert len(stand.backend.probes) == 1
    assert [one.key.principal for one in stand.agent.asked] == ["anna@elsewhere.test"]


async def test_the_table_knows_a_certificate_by_issuer_and_serial_number(make_stand: MakeStand, pki: DevicePki) -> None:
    """For certificates that name nobody."""
    row = MappedCertificate(issuer="CN=devices", serial=f"{read(pki.der('plain')).serial:x}", user="anna@lab.test")
    stand = await asking(make_stand, pki, "identity_certificate", mapping=["table"], table=[msgspec.to_builtins(row)])
    device = await shown(stand, pki, "plain")
    assert (await device.ask(post(authorization=None))).status == 200
    assert await turned_away(stand, pki, "anna") == ("certificate_refused", "certificate_names_nobody")


async def test_a_resumed_session_is_worth_no_more_than_its_certificate(make_stand: MakeStand, pki: DevicePki) -> None:
    """A session ticket from before the rules changed does not go around them."""
    pki.issue("leaver", by="devices", names="email:anna@lab.test")
    stand = await asking(make_stand, pki, "identity_certificate")
    context = ssl.create_default_context(cafile=stand.certificates.ca)
    context.load_cert_chain(*pki.pair("leaver"))

    def twice() -> tuple[bytes, bytes, bool]:
        answers = []
        session = None
        for _ in range(2):
            one = socket.create_connection(("127.0.0.1", stand.port), PATIENCE)
            with context.wrap_socket(one, server_hostname="mail.lab.test", session=session) as secured:
                secured.sendall(post())
                answers.append(secured.recv(15))
                session, reused = secured.session, bool(secured.session_reused)
        return answers[0], answers[1], reused

    first, second, reused = await asyncio.to_thread(twice)
    assert (first, second, reused) == (b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK", True)
    lines = await stand.audit.count(4)
    assert {line["certificate"] for line in lines} == {read(pki.der("leaver")).fingerprint}


async def test_a_balancers_own_connection_needs_no_certificate_and_gets_no_mail(
    make_stand: MakeStand, pki: DevicePki
) -> None:
    """Its health check (LOCAL) has none; whatever else it asks for is refused."""
    listener = {"proxy": "required", "balancers": (BALANCER,)}
    stand = await asking(make_stand, pki, "identity_certificate", listener=listener)
    device = await connect(stand, before=LOCAL)
    assert (await device.ask(HEALTH)).status == 200
    assert (await device.ask(post())).status == 403
    (_, outcome) = await stand.audit.outcomes(2)
    assert outcome["reasons"] == ["certificate_missing"]


FOLDER_SYNC = Asked(post("FolderSync", b"abc", authorization=None, user="anna"))


async def test_a_log_on_of_a_connection_beside_a_certificate(
    make_stand: MakeStand, pki: DevicePki, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first message names nobody and passes. What went by the certificate alone before goes by the log-on from then on."""
    stand = await asking(make_stand, pki, "identity_certificate", started=False)
    await start(stand, monkeypatch, "ntlm", "basic")
    device = await shown(stand, pki, "anna")
    assert (await device.ask(FOLDER_SYNC(None))).status == 401  # the backend's word: it wants to know, too
    response, last = await log_on(device, FOLDER_SYNC, NtlmClient("LAB\\anna"))
    assert (response.status, response.body) == (200, b"LAB\\anna")
    for authorization in (None, last, None):
        response = await device.ask(FOLDER_SYNC(authorization))
        assert (response.status, response.body) == (200, b"LAB\\anna")
    assert {one["principal"] for one in (await stand.audit.outcomes(6))[2:]} == {"anna@lab.test"}
    await until(lambda: stand.status()["requests"] == 6)
    assert stand.status()["logons_refused"] == 0  # a request without credentials tries none


async def test_nobody_logs_on_with_somebody_elses_certificate(
    make_stand: MakeStand, pki: DevicePki, monkeypatch: pytest.MonkeyPatch
) -> None:
    """403 for the last message, which no backend sees, and for a first one whose `User=` is another."""
    stand = await asking(make_stand, pki, "identity_certificate", started=False)
    await start(stand, monkeypatch, "ntlm")
    device = await shown(stand, pki, "anna")
    response, _ = await log_on(device, FOLDER_SYNC, NtlmClient("LAB\\bert"))
    assert response.status == 403
    as_bert = Asked(post("FolderSync", authorization=None, user="bert@lab.test"))
    assert (await device.ask(as_bert(NtlmClient("LAB\\bert").first()))).status == 403
    outcomes = await stand.audit.outcomes(3)
    assert [one["reasons"] for one in outcomes] == [["logon_begun"], ["certificate_mismatch"], ["user_mismatch"]]
    assert len(stand.backend.probes) == 1
    assert stand.backend.seen == []


async def test_a_certificates_user_has_the_sites_one_name(make_stand: MakeStand, pki: DevicePki) -> None:
    """Its common name is one of the default domain, as a bare name in credentials is."""
    stand = await asking(make_stand, pki, "identity_certificate", mapping=["common_name"], started=False)
    stand.settings = msgspec.structs.replace(stand.settings, principals=SITE)
    await stand.start()
    device = await shown(stand, pki, "anna")
    for authorization in (None, basic("LAB\\anna"), basic("anna")):
        assert (await device.ask(post(authorization=authorization, user="anna"))).status == 200
    assert {one["principal"] for one in await stand.audit.outcomes(3)} == {"anna@lab.test"}


async def test_a_certificate_without_credentials_does_not_rest(make_stand: MakeStand, pki: DevicePki) -> None:
    """Wrong credentials of its user make those rest: without any, nothing is tried."""
    stand = await asking(make_stand, pki, "identity_certificate", started=False)
    stand.settings = change(stand.settings, limits=with_limits(logons_refused_per_principal=2))
    stand.backend.script = challenge
    await stand.start()
    await stand.agent.put(PHONE, State.ALLOWED)
    device = await shown(stand, pki, "anna")
    guesses = [post(authorization=basic(password=f"guess{number}")) for number in range(3)]
    assert [(await device.ask(guess)).status for guess in guesses] == [401, 401, 503]
    stand.backend.script = say_yes
    assert (await device.ask(post(authorization=None))).status == 200
    assert (await device.ask(post())).status == 503


# --- front ends ------------------------------------------------------------------------------------------------------


async def fronted(make_stand: MakeStand, pki: DevicePki, form: str = "certificate", **more: Any) -> Stand:
    """A stand behind a front end on BALANCER that tells of certificates."""
    listener = {"tls": False, "balancers": (BALANCER, ANYBODY), "front_ends": (BALANCER,)}
    header = msgspec.to_builtins(CertificateHeader(name="F5-Cert", form=form))  # type: ignore[arg-type] # a literal
    more = {"header": header, "listener": listener, **more}
    return await asking(make_stand, pki, "trusted_front_end", **more)


def certificate(pki: DevicePki, name: str) -> str:
    """The header of this device."""
    return f"F5-Cert: {base64.b64encode(pki.der(name)).decode()}\r\n"


async def test_a_front_end_tells_whose_a_request_is(make_stand: MakeStand, pki: DevicePki) -> None:
    """Row 75: per request, since it pools its devices' connections; the header goes no further."""
    stand = await fronted(make_stand, pki)
    await stand.agent.put(DeviceKey("PHONE1", "bert@lab.test"), State.ALLOWED)
    device = await connect(stand, tls=False)
    for name, user in (("anna", "anna@lab.test"), ("bert", "bert@lab.test"), ("anna", "anna@lab.test")):
        data = post(extra=certificate(pki, name), authorization=None, user=user)
        assert (await device.ask(data)).status == 200
    outcomes = await stand.audit.outcomes(3)
    assert [one["principal"] for one in outcomes] == ["anna@lab.test", "bert@lab.test", "anna@lab.test"]
    assert {len(seen.values("F5-Cert")) for seen in stand.backend.seen} == {0}
    mixed = post(extra=certificate(pki, "bert"), authorization=None, user="anna@lab.test")
    assert (await device.ask(mixed)).status == 403


async def test_the_gateways_own_provision_does_not_carry_a_front_ends_header(
    make_stand: MakeStand, pki: DevicePki
) -> None:
    """What the backend is asked in the form of the device's request is without it, too."""
    stand = await fronted(make_stand, pki, started=False)
    secret = stand.folder / "fleet.key"
    secret.write_bytes(SECRET)
    set_gateway(stand, policy=Policy(device_password_enabled=True), fleet_secret=str(secret))
    Enforcer(stand.backend).install()
    await stand.start()
    device = await connect(stand, tls=False)
    asked = post("Provision", encode_request(Ask(EAS_WBXML, SAYS)), extra=certificate(pki, "anna"))
    assert (await device.ask(asked)).status == 200
    (heard,) = stand.backend.provisions
    assert heard.values("F5-Cert") == []


async def test_no_request_of_a_front_end_goes_by_an_earlier_log_on(
    make_stand: MakeStand, pki: DevicePki, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It puts several devices on one connection: what comes without credentials goes by the certificate alone."""
    stand = await fronted(make_stand, pki, started=False)
    await start(stand, monkeypatch, "ntlm")
    device = await connect(stand, tls=False)
    asked = Asked(post("FolderSync", authorization=None, user="anna", extra=certificate(pki, "anna")))
    response, last = await log_on(device, asked, NtlmClient("LAB\\anna"))
    assert (response.status, response.body) == (200, b"LAB\\anna")
    assert (await device.ask(asked(None))).status == 401
    assert (await device.ask(asked(last))).status == 200
    first, without, again = (seen.connection for seen in stand.backend.seen)
    assert first == again != without


async def test_the_header_of_anybody_else_is_taken_out_and_not_believed(make_stand: MakeStand, pki: DevicePki) -> None:
    """Row 75: from a balancer that is no front end the request has no certificate."""
    stand = await fronted(make_stand, pki)
    device = await connect(stand, ANYBODY, tls=False)
    assert (await device.ask(post(extra=certificate(pki, "anna")))).status == 403
    (outcome,) = await stand.audit.outcomes(1)
    assert outcome["reasons"] == ["certificate_missing"]
    assert stand.backend.connections == 0


@pytest.mark.parametrize(
    ("extra", "status", "word"),
    [
        ("", 403, "certificate_missing"),
        ("F5-Cert: \r\n", 403, "certificate_missing"),
        ("F5-Cert: rubbish\r\n", 403, "certificate_header_malformed"),
        ("stranger", 403, "certificate_issuer"),
        ("past", 403, "certificate_not_in_time"),
        ("nothing", 403, "certificate_purpose"),
        ("plain", 403, "certificate_names_nobody"),
        ("doubled", 400, "field_doubled"),
    ],
)
async def test_what_a_front_end_tells_is_looked_at(
    make_stand: MakeStand, pki: DevicePki, extra: str, status: int, word: str
) -> None:
    """It may pass on a certificate that is not for here."""
    stand = await fronted(make_stand, pki)
    if extra == "doubled":
        extra = certificate(pki, "anna") + certificate(pki, "bert").lower()
    elif extra and ":" not in extra:
        extra = certificate(pki, extra)
    device = await connect(stand, tls=False)
    assert (await device.ask(post(extra=extra))).status == status
    lines = await stand.audit.wait(lambda lines: any(line.get("reasons") for line in lines))
    assert [line["reasons"] for line in lines if line.get("reasons")] == [[word]]
    assert stand.backend.connections == 0


@pytest.mark.parametrize(
    ("form", "value"),
    [("subject", "CN=anna,O=Lab"), ("xfcc", 'Hash=1;Subject="CN=forged",Hash=2;Subject="CN=anna,O=Lab"')],
)
async def test_a_front_end_may_tell_the_subject_only(
    make_stand: MakeStand, pki: DevicePki, form: str, value: str
) -> None:
    """Then the user is its common name, and there is no fingerprint to write down."""
    stand = await fronted(make_stand, pki, form, authorities=None, mapping=["upn", "common_name"])
    await stand.agent.put(DeviceKey("PHONE1", "anna"), State.ALLOWED)
    device = await connect(stand, tls=False)
    data = post(extra=f"F5-Cert: {value}\r\n", authorization=None, user="anna")
    assert (await device.ask(data)).status == 200
    (outcome,) = await stand.audit.outcomes(1)
    assert (outcome["principal"], "certificate" in outcome) == ("anna", False)


async def test_health_needs_no_certificate(make_stand: MakeStand, pki: DevicePki) -> None:
    """A balancer asks for itself."""
    stand = await fronted(make_stand, pki)
    device = await connect(stand, tls=False)
    assert (await device.ask(HEALTH)).status == 200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "identity_certificate"}, "authorities: identity_certificate needs them"),
        ({"mode": "group_certificate", "authorities": "/nowhere.pem"}, "/nowhere.pem"),
        ({"mode": "trusted_front_end"}, "header: trusted_front_end needs one"),
        ({"mode": "trusted_front_end", "header": {"name": "X-Cert"}}, "needs the front ends' networks"),
        ({"header": {"name": "X-Cert"}}, "header: only trusted_front_end has one"),
        ({"revocation": {"ocsp_url": "http://a/"}}, "revocation: with pass_through it is nothing"),
        ({"mapping": ["table"]}, "table: the mapping asks for it"),
    ],
)
async def test_settings_without_effect_are_refused(
    make_stand: MakeStand, pki: DevicePki, changes: dict[str, Any], message: str
) -> None:
    """And those that are not enough: the settings in force stay."""
    stand = await make_stand()
    auth = msgspec.convert(changes, DeviceAuthentication)
    stand.settings_path.write_bytes(msgspec.json.encode(change(stand.settings, device_authentication=auth)))
    assert stand.process is not None
    stand.process.send_signal(1)
    await until(lambda: message in stand.status()["reload_error"])
