"""Canaries: no credential, cookie or mail content reaches a log, in whatever way it travels and whatever goes wrong.

Row 150 for the gateway. Each test sends secrets that nothing else says, and afterwards reads all that the gateway has
written: the audit trail and its standard error.
"""

import base64
import secrets
import signal
import urllib.parse
from dataclasses import dataclass, field
from typing import NoReturn

import msgspec
import pytest

from sentry_runtime.control_server import Refused
from sentry_runtime.devices.record import DeviceKey, State
from sentry_runtime.eas.codepages import PROVISION, SETTINGS
from sentry_runtime.eas.device_information import DeviceInformation, write
from sentry_runtime.eas.provision import EAS_WBXML, Ask, encode_request
from sentry_runtime.eas.wbxml import element, encode
from tests.device_pki import DevicePki
from tests.gateway.conftest import MakeStand, with_limits
from tests.gateway.ntlm_server import USERS, Asked, NtlmClient, log_on, start
from tests.gateway.stand import PHONE, Stand, Turn, basic, post
from tests.gateway.test_autodiscover import ask as discover
from tests.gateway.test_autodiscover import document
from tests.gateway.test_balancers import connect
from tests.gateway.test_bearer import token
from tests.gateway.test_certificates import certificate, fronted, pki
from tests.gateway.test_provisioning import SECRET, plain, say_no_policy, set_gateway
from tests.gateway.test_redirects import RULES, MakeMoved, Moved, make_moved, sending_to

__all__ = ["make_moved", "pki"]  # fixtures

PATIENT = with_limits(logons_refused_per_source=0, logons_refused_per_principal=0)


def forms(secret: bytes) -> set[bytes]:
    """How a secret may be written down: as it is, in hex, percent-encoded, reversed into text, and within Base64 of anything."""
    found = {secret, secret.hex().encode(), secret.hex().upper().encode(), urllib.parse.quote(secret, safe="").encode()}
    for shift in range(3):  # what stands before it moves it against Base64's groups of three bytes
        found.add(base64.b64encode(bytes(shift) + secret)[4 if shift else 0 : -4])
    return found


@dataclass
class Watch:
    """Secrets that were sent, and a look for them at the end."""

    stand: Stand
    sent: list[bytes] = field(default_factory=list)

    def secret(self, word: str = "") -> str:
        """A new one; of only letters and digits, so that it may stand anywhere."""
        made = f"canary{word}{secrets.token_hex(9)}"
        self.sent.append(made.encode())
        return made

    async def closes(self, outcomes: int) -> None:
        """The gateway ends, and none of them is in what it has written, in which so many requests are."""
        await self.stand.audit.outcomes(outcomes)
        assert self.stand.process is not None
        self.stand.process.send_signal(signal.SIGTERM)
        await self.stand.ended()
        self.stand.audit.lines()
        written = b"\n".join(self.stand.audit.raw) + self.stand.log().encode()
        assert written.count(b'"outcome"') >= outcomes
        assert len(self.sent) > 1
        for secret in self.sent:
            assert len(secret) > 12
            assert [form for form in forms(secret) if form in written] == []


async def test_the_look_finds_a_secret_in_every_form() -> None:
    """So that the tests below mean something."""
    secret = b"canary0123456789abcdef"
    for before in (b"", b"a", b"ab", b"abc:"):
        written = base64.b64encode(before + secret + b":more")
        assert any(form in written for form in forms(secret))
    assert any(form in b"path=" + secret.hex().encode() for form in forms(secret))
    assert not any(form in base64.b64encode(b"something else that is long enough") for form in forms(secret))


async def test_basic_cookies_bodies_and_queries(make_stand: MakeStand) -> None:
    """Passed, challenged, refused by the backend, forbidden, malformed, cut, and failed."""
    stand = await make_stand(limits=PATIENT)
    watch = Watch(stand)
    await stand.agent.put(PHONE, State.ALLOWED)
    password, body, cookie = watch.secret("password"), watch.secret("body"), watch.secret("cookie")
    given, mail, attachment = watch.secret("setcookie"), watch.secret("mail"), watch.secret("attachment")
    credentials = basic(password=password)
    watch.sent.append(credentials.encode()[6:])
    extra = f"Cookie: session={cookie}\r\nX-Note: {watch.secret('field')}\r\n"
    answers = iter(("200 OK", "401 Unauthorized", "500 Internal Server Error", "302 Found"))

    async def script(turn: Turn) -> None:
        await turn.body()
        status = next(answers, "")
        said = f"Set-Cookie: {given}\r\nLocation: https://{watch.secret('host')}/{watch.secret('path')}\r\n"
        if status:
            await turn.ok(mail.encode(), said, status)
        else:
            await turn.say(f"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n{said}\r\n{mail}".encode())
            turn.writer.close()

    stand.backend.script = script
    whole = post("SendMail", body.encode(), extra=extra, authorization=credentials)
    for _ in range(5):
        device = await stand.device()
        await device.send(whole)
        await device.head()
    named = post("GetAttachment", extra=extra, authorization=credentials)
    requests = (
        named.replace(b"&User", f"&AttachmentName={attachment}&User".encode(), 1),
        post("Sync", body.encode(), device="PHONE2", extra=extra, authorization=credentials),
        post("Sync", body.encode(), user=f"bert{watch.secret('user')}", extra=extra, authorization=credentials),
        post("Sync", body.encode(), extra=extra, authorization=basic(f"a b{watch.secret('name')}", password)),
        post("Sync", body.encode(), extra=extra, authorization=f"Digest {watch.secret('digest')}"),
        post("Sync", body.encode(), extra=extra, authorization=f"Basic {watch.secret('raw')}!"),
        post("Sync", body.encode(), extra=extra).replace(b"14.1", watch.secret("version").encode()),
        post(watch.secret("command"), body.encode(), extra=extra, authorization=credentials),
        f"GET /owa/?token={watch.secret('token')} HTTP/1.1\r\nHost: a\r\n{extra}\r\n".encode(),
        post("Sync", extra=f"{extra}Transfer-Encoding: chunked\r\n", authorization=credentials) + body.encode(),
        whole.replace(b"Host: mail.lab.test\r\n", b""),
        whole.replace(b"HTTP/1.1", watch.secret("protocol").encode()),
        f"{watch.secret('line')}\r\n\r\n".encode(),
    )
    for request in requests:
        device = await stand.device()
        await device.send(request)
        await device.head()
    await stand.backend.stop()
    assert (await (await stand.device()).ask(whole)).status == 503
    await watch.closes(12)


async def test_log_ons_of_a_connection(make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch) -> None:
    """NTLM and Negotiate: no message of theirs, whether the password is right, wrong, or the message is nonsense."""
    stand = await make_stand(started=False, limits=PATIENT)
    await start(stand, monkeypatch, "ntlm", "negotiate", "basic")
    watch = Watch(stand, [password.encode() for password in USERS.values()])
    await stand.agent.put(PHONE, State.ALLOWED)
    asked = Asked(post("FolderSync", watch.secret("body").encode(), authorization=None, user="anna"))
    outcomes = 0
    for scheme in ("NTLM", "Negotiate"):
        for password in (None, watch.secret("password")):
            response, last = await log_on(await stand.device(), asked, NtlmClient("LAB\\anna", password, scheme))
            assert response.status == (200 if password is None else 401)
            watch.sent.append(last.partition(" ")[2].encode()[:60])
            outcomes += 2
        for nonsense in ("!", base64.b64encode(watch.secret("message").encode()).decode(), ""):
            assert (await (await stand.device()).ask(asked(f"{scheme} {nonsense}"))).status == 401
            outcomes += 1
    await watch.closes(outcomes)


async def test_tokens(make_stand: MakeStand) -> None:
    """Bearer: those that the backend takes or refuses, and those that name nobody."""
    stand = await make_stand(started=False, limits=PATIENT)
    set_gateway(stand, authentication=("bearer",))
    await stand.start()
    watch = Watch(stand)
    await stand.agent.put(PHONE, State.ALLOWED)

    async def refuse(turn: Turn) -> None:
        await turn.body()
        challenge = f'WWW-Authenticate: Bearer authorization_uri="https://{watch.secret("uri")}/"\r\n'
        await turn.ok(status="401 Unauthorized", extra=challenge)

    asked = Asked(post("FolderSync", watch.secret("body").encode(), authorization=None, user="anna"))
    good = token(upn="anna@lab.test", given_name=watch.secret("claim"), nonce=watch.secret("nonce"))
    bad = [token(sub=watch.secret("sub")), token(upn=f"a b {watch.secret('upn')}"), f"Bearer {watch.secret('opaque')}"]
    bad += [f"Bearer a.{watch.secret('part')}.b", f"Bearer {'.'.join(watch.secret('many') for _ in range(4))}"]
    watch.sent += [one.partition(" ")[2].encode()[-60:] for one in (good, *bad)]
    device = await stand.device()
    assert (await device.ask(asked(good))).status == 200
    for one in bad:
        assert (await (await stand.device()).ask(asked(one))).status == 401
    stand.backend.script = stand.backend.probe = refuse
    for request in (asked(good), asked(good).replace(b"PHONE1", b"PHONE2")):
        assert (await (await stand.device()).ask(request)).status == 401
    await watch.closes(8)


async def test_certificates_that_a_front_end_tells_of(make_stand: MakeStand, pki: DevicePki) -> None:
    """Only the fingerprint is written down; not the certificate, nor a header that holds something else."""
    stand = await fronted(make_stand, pki)
    watch = Watch(stand)
    body, cookie = watch.secret("body"), watch.secret("cookie")
    headers = {certificate(pki, "anna"): 200, certificate(pki, "bert"): 403, certificate(pki, "stranger"): 403}
    headers |= {
        f"F5-Cert: {watch.secret('rubbish')}\r\n": 403,
        f'F5-Cert: Subject="CN={watch.secret("subject")}"\r\n': 403,
    }
    watch.sent += [base64.b64encode(pki.der(name))[200:260] for name in ("anna", "bert", "stranger")]
    watch.sent += [pki.der(name)[-40:] for name in ("anna", "bert", "stranger")]
    for header, status in headers.items():
        device = await connect(stand, tls=False)
        request = post("Sync", body.encode(), extra=f"{header}Cookie: {cookie}\r\n", authorization=None)
        assert (await device.ask(request)).status == status
    await watch.closes(3)


def bodies(watch: Watch) -> list[bytes]:
    """What a device says in a Provision: itself, a recovery password, nonsense, and things of another kind."""
    says = DeviceInformation(
        model=watch.secret("model"),
        imei=watch.secret("imei"),
        friendly_name=watch.secret("name"),
        phone_number=watch.secret("number"),
        user_agent=watch.secret("agent"),
        mobile_operator=watch.secret("operator"),
    )
    recovery = element(
        SETTINGS, "DevicePassword", element(SETTINGS, "Set", element(SETTINGS, "Password", watch.secret()))
    )
    return [
        encode_request(Ask(EAS_WBXML, says)),
        encode_request(Ask(watch.secret("type"), says)),
        encode(element(PROVISION, "Provision", watch.secret("text"))),
        encode(element(PROVISION, "Provision", write(says), element(PROVISION, "Status", watch.secret("status")))),
        encode(element(SETTINGS, "Settings", recovery, write(says))),
        encode_request(Ask(EAS_WBXML, says))[:-5] + watch.secret("end").encode(),
        watch.secret("nonsense").encode(),
    ]


@pytest.mark.parametrize("agent", ["takes", "refuses", "away"])
async def test_what_a_device_says_in_provision_and_settings(make_stand: MakeStand, agent: str) -> None:
    """Also where the agent does not take it, and where the backend answers with something that cannot be read."""
    stand = await make_stand(started=False, limits=with_limits(decision_seconds=0.5))
    (stand.folder / "fleet.key").write_bytes(SECRET)
    set_gateway(stand, policy={"device_password_enabled": True}, fleet_secret=str(stand.folder / "fleet.key"))
    await stand.start()
    watch = Watch(stand)
    await stand.agent.put(PHONE, State.ALLOWED)

    async def unreadable(turn: Turn) -> None:
        await turn.body()
        mail = encode(element(PROVISION, "Provision", watch.secret("policy")))
        await turn.ok(mail, f"Set-Cookie: {watch.secret('cookie')}\r\n")

    async def refuse(_: object) -> NoReturn:
        raise Refused("busy", "not now")

    if agent == "refuses":
        stand.agent.keep = stand.agent.describe = refuse
    elif agent == "away":
        await stand.agent.stop_socket()
    count = 0
    for provision in (say_no_policy, unreadable):
        stand.backend.provision = provision
        for body in bodies(watch):
            for command in ("Provision", "Settings"):
                device = await stand.device()
                await device.ask(plain(command, "14.1", 0, body))
                count += 1
    await watch.closes(count)


async def test_where_a_451_leads(make_moved: MakeMoved) -> None:
    """The host is written down, and nothing else: no name or password in it, no path, no query, no cookie."""
    moved: Moved = await make_moved(rules=msgspec.structs.replace(RULES, hosts=("localhost",)))
    stand = moved.stand
    watch = Watch(stand)
    user, password = watch.secret("user"), watch.secret("password")
    place = f"localhost:{moved.elsewhere.port}/Microsoft-Server-ActiveSync"
    urls = (
        f"https://{user}:{password}@{place}",
        f"https://{place}?User={user}&Key={password}",
        f"https://{place}/{user}",
        f"https://evil.test:{moved.elsewhere.port}/Microsoft-Server-ActiveSync?User={user}",
        f"https://evil.test/{user}/{password}",
        f"ftp://{user}:{password}@{place}",
        f"{user} {password}",
        f"https://{place}#{user}",
    )
    for number, url in enumerate(urls):
        moved.origin.script = sending_to(url)
        await stand.agent.put(DeviceKey(f"D{number}", PHONE.principal), State.ALLOWED)
        request = post("Sync", watch.secret("body").encode(), device=f"D{number}", extra=f"Cookie: {user}\r\n")
        await (await stand.device()).ask(request)
    told = await moved.lines(len(urls))
    assert {line.get("target", "") for line in told} == {"", "localhost", "evil.test"}
    assert {line["device_id"] for line in told} == {f"D{number}" for number in range(len(urls))}
    await watch.closes(len(urls))


async def test_autodiscover(make_stand: MakeStand) -> None:
    """Whose address somebody asks for, in a document that can be read and in others; and in the query of the JSON form."""
    stand = await make_stand(external_host="gw.lab.test", limits=PATIENT)
    watch = Watch(stand)
    password = watch.secret("password")
    documents = [
        document(f"{watch.secret('box')}@other.test"),
        document(watch.secret("bare")),
        document(f"{watch.secret('box')}@other.test", schema=f"http://{watch.secret('schema')}/"),
        document(before=f"<!DOCTYPE a [<!ENTITY b '{watch.secret('entity')}'>]>"),
        f"<{watch.secret('tag')}".encode(),
    ]
    for one in documents:
        await (await stand.device()).ask(discover(one, f"Cookie: {password}", authorization=basic(password=password)))
    query = f"Email={watch.secret('mail')}@lab.test&Protocol={watch.secret('protocol')}"
    for form in (query, query.rpartition("=")[0] + "=ActiveSync"):
        asked = f"GET /autodiscover/autodiscover.json?{form} HTTP/1.1\r\nHost: a\r\nCookie: {password}\r\n\r\n"
        await (await stand.device()).ask(asked.encode())
    await watch.closes(len(documents) + 2)
