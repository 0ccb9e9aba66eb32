"""A Sentry gets its certificate from the UEM by a token, renews it, and loses it: agent and UEM as real processes."""

import ssl
from collections.abc import Callable
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from sentry_runtime import control
from sentry_runtime.agent import identity
from sentry_runtime.control import ControlError
from sentry_runtime.settings import Administrator, ClientTls, EnrolmentLink, EnrolmentServer
from sentry_runtime.tls import client_context
from sentry_runtime.uem_server import cli
from sentry_runtime.uem_server.service import rest_socket
from sentry_runtime.uem_server.tables import EnrolmentToken, open_engine
from tests.agent.conftest import MakeStage
from tests.agent.stage import Stage, openssl
from tests.agent.test_cloud import cloudy
from tests.gateway.stand import PHONE
from tests.ports import free_port

Say = Callable[..., list[Any]]

CLOSED = (ConnectionError, ssl.SSLError)
"""How it looks to a client that the UEM has closed the connection without a word of HTTP."""


def to_enrol(made: Stage) -> Stage:
    """The same stage with a UEM that enrols and an agent that is to be `edge`, without a certificate yet."""
    uem, link = made.settings.uem_server, made.settings.agent.uem
    assert uem is not None
    (made.folder / "enrolment").mkdir()
    port = free_port()
    server = EnrolmentServer(port=port, authority=str(made.folder / "authority.pem"))
    boss = Administrator(name="edge", subject="CN=edge,OU=Enrolled Sentry")
    wanted = EnrolmentLink(url=f"https://127.0.0.1:{port}", sentry="edge")
    without = msgspec.structs.replace(link, tls=ClientTls(trust=link.tls.trust), enrolment=wanted)
    made.settings = msgspec.structs.replace(
        made.settings,
        uem_server=msgspec.structs.replace(uem, sentrys=(), enrolment=server, administrators=(boss,)),
        agent=msgspec.structs.replace(made.settings.agent, uem=without),
        paths=msgspec.structs.replace(made.settings.paths, enrolment=str(made.folder / "enrolment")),
    )
    return made


@pytest.fixture(params=["core", "cloud"])
def enrolling(make_stage: MakeStage, request: pytest.FixtureRequest) -> Stage:
    """UEM and agent run, in either manner. The fail mode would let all in."""
    made = make_stage("allow", resync_seconds=1.0)
    if request.param == "cloud":
        cloudy(made, 1.0, fail_mode="allow")
    else:
        link = msgspec.structs.replace(made.settings.agent.uem, mode="core", push_networks=("127.0.0.1/32",))
        agent = msgspec.structs.replace(made.settings.agent, uem=link)
        made.settings = msgspec.structs.replace(made.settings, agent=agent)
    to_enrol(made)
    made.uem()
    made.agent()
    return made


@pytest.fixture
def say(enrolling: Stage, capsys: pytest.CaptureFixture[str]) -> Say:
    """What the administrators' command answers, as values."""

    def said(*words: str) -> list[Any]:
        code = cli.main(["--socket", str(rest_socket(enrolling.paths.uem_admin)), *words])
        out, problem = capsys.readouterr()
        if code:
            raise AssertionError(problem)
        return [msgspec.json.decode(line) for line in out.splitlines()]

    return said


def token_for(say: Say, name: str = "edge") -> str:
    """A token that an administrator gives out."""
    (opened,) = say("enrolments", "open", name)
    return str(opened["token"])


def enrol(stage: Stage, token: str) -> None:
    """An administrator of the appliance types this token."""
    control.call(stage.settings.paths.agent_socket, control.Enrol(token=token, by="anna"))


def is_linked(stage: Stage) -> bool:
    """Whether the agent's link is up."""
    return bool(stage.status()["link"] == "up")


def certificates(say: Say) -> list[dict[str, Any]]:
    """What the UEM has issued, oldest first."""
    return [one for entry in say("enrolments", "list") for one in entry["certificates"]]


def file_of(stage: Stage) -> Path:
    """Where key and certificate lie."""
    return stage.folder / "enrolment" / identity.FILE


def call(
    stage: Stage, method: str, path: str, body: object = None, *, port: int | None = None, own: Path | None = None
) -> int:
    """The status of a stranger's request, who shows what lies in `own`."""
    tls = stage.pki.client(None)
    context = client_context(tls)
    if own is not None:
        context.load_cert_chain(own)
    peer = HTTPSConnection("127.0.0.1", port or stage.uem_port, context=context, timeout=20)
    try:
        peer.request(method, path, body=None if body is None else msgspec.json.encode(body))
        return peer.getresponse().status
    finally:
        peer.close()


def enrolment_port(stage: Stage) -> int:
    """Where the UEM enrols."""
    assert stage.settings.uem_server is not None
    assert stage.settings.uem_server.enrolment is not None
    return stage.settings.uem_server.enrolment.port


def asked(token: str, name: str = "edge") -> dict[str, str]:
    """What somebody sends who has this token."""
    return {"sentry": name, "token": token, "csr": identity.request(identity.new_key(), name)}


def test_without_a_certificate_nothing_is_sent_and_the_fail_mode_is_silent(enrolling: Stage) -> None:
    """Who is not enrolled is no outage: a new device is told to come again, and nothing is kept of it."""
    with pytest.raises(ControlError, match="not enrolled") as refused:
        enrolling.ask(PHONE)
    assert refused.value.kind == "unavailable"
    assert enrolling.listed() == []
    status = enrolling.status()
    assert status["enrolment"] == "this Sentry is not enrolled at its UEM"
    assert status["link"] != "down"


def test_a_token_yields_the_certificate_and_the_link(enrolling: Stage, say: Say) -> None:
    """The key is made by the agent, is its alone, and never seen by the UEM."""
    enrol(enrolling, token_for(say))
    enrolling.wait(lambda: is_linked(enrolling))
    assert enrolling.ask(PHONE).key == PHONE
    assert enrolling.status()["enrolment"] == "enrolled as edge"
    assert file_of(enrolling).stat().st_mode & 0o777 == 0o600
    (one,) = certificates(say)
    assert (one["taken"], one["revoked"]) == (True, 0)
    assert [(peer["name"], peer["subject"]) for peer in say("sentrys", "list")] == [
        ("edge", "CN=edge,OU=Enrolled Sentry")
    ]


def test_no_token_is_kept_or_written_down(enrolling: Stage, say: Say) -> None:
    """Neither the database nor the audit trail nor the settings have it."""
    with enrolling.audit() as trail:
        token = token_for(say)
        enrol(enrolling, token)
        lines = [*trail.until("uem_enrolment_opened"), *trail.until("uem_enrolled")]  # in this order of the UEM's own
        assert token not in msgspec.json.encode(lines).decode()
    for file in enrolling.folder.rglob("*"):
        if file.is_file():
            assert token.encode() not in file.read_bytes(), file


def test_a_stolen_token_that_was_used_is_good_for_nobody_and_is_noticed(enrolling: Stage, say: Say) -> None:
    """The second one is refused without a reason, and the audit trail has it."""
    token = token_for(say)
    port = enrolment_port(enrolling)
    assert call(enrolling, "POST", "/v1/enrolments", asked(token), port=port) == 200
    with enrolling.audit() as trail:
        with pytest.raises(ControlError, match="not good for this Sentry"):
            enrol(enrolling, token)
        assert "redeemed before" in trail.until("uem_enrolment_refused")[-1]["detail"]
    assert not file_of(enrolling).exists()
    # Whose certificate it is, is the thief's: an administrator who sees that revokes it, and gives another token out.
    say("enrolments", "revoke", "edge")
    enrol(enrolling, token_for(say))
    enrolling.wait(lambda: is_linked(enrolling))
    assert sorted(bool(one["revoked"]) for one in certificates(say)) == [False, True]


def test_a_token_is_for_one_name(enrolling: Stage, say: Say) -> None:
    """Under another Sentry's name it is refused, and is still good for its own."""
    token_for(say)
    other = token_for(say, "other")
    with pytest.raises(ControlError, match="not good for this Sentry"):
        enrol(enrolling, other)
    assert call(enrolling, "POST", "/v1/enrolments", asked(other, "nobody"), port=enrolment_port(enrolling)) == 403
    assert call(enrolling, "POST", "/v1/enrolments", asked(other, "other"), port=enrolment_port(enrolling)) == 200


def test_an_expired_token_is_refused(enrolling: Stage, say: Say) -> None:
    """Its time is over; the trail says so, the answer does not."""
    token = token_for(say)
    assert enrolling.settings.uem_server is not None
    engine = open_engine(enrolling.settings.uem_server.database)
    with Session(engine) as session, session.begin():
        session.execute(update(EnrolmentToken).values(ends=1))
    engine.dispose()
    with enrolling.audit() as trail:
        with pytest.raises(ControlError, match="not good for this Sentry"):
            enrol(enrolling, token)
        assert trail.until("uem_enrolment_refused")[-1]["detail"].endswith("the token has expired")


def test_the_last_token_is_the_only_one(enrolling: Stage, say: Say) -> None:
    """Another one takes the place of the one before."""
    first, second = token_for(say), token_for(say)
    with pytest.raises(ControlError, match="not good for this Sentry"):
        enrol(enrolling, first)
    enrol(enrolling, second)


def test_guesses_are_slowed_down(enrolling: Stage) -> None:
    """One address has ten tries at once."""
    port = enrolment_port(enrolling)
    tries = [call(enrolling, "POST", "/v1/enrolments", asked("A" * 43), port=port) for _ in range(11)]
    assert tries == [403] * 10 + [429]


def test_the_next_certificate_takes_the_place_of_the_last(enrolling: Stage, say: Say) -> None:
    """The link goes on with it; the old one ends minutes after the first call with the new one."""
    enrol(enrolling, token_for(say))
    enrolling.wait(lambda: is_linked(enrolling))
    before = file_of(enrolling).read_bytes()
    control.call(enrolling.settings.paths.agent_socket, control.RenewEnrolment())
    assert file_of(enrolling).read_bytes() != before
    enrolling.wait(lambda: [one["taken"] for one in certificates(say)] == [True, True])
    old, new = sorted(certificates(say), key=lambda one: int(one["ends"]))
    assert old["ends"] <= new["issued"] + 360
    assert enrolling.ask(PHONE).key == PHONE


def test_a_revoked_certificate_is_turned_away_at_once(enrolling: Stage, say: Say) -> None:
    """On connections there are, and at the handshake; it can neither be used nor renewed, and is no outage."""
    enrol(enrolling, token_for(say))
    enrolling.wait(lambda: is_linked(enrolling))
    own = file_of(enrolling)
    assert call(enrolling, "GET", "/v1/decisions?after=0&limit=1", own=own) == 200
    say("enrolments", "revoke", "edge")
    with pytest.raises(CLOSED):
        call(enrolling, "GET", "/v1/decisions?after=0&limit=1", own=own)
    with pytest.raises(ControlError):
        control.call(enrolling.settings.paths.agent_socket, control.RenewEnrolment())
    with pytest.raises(ControlError):
        enrolling.ask(PHONE)
    assert enrolling.listed() == []
    assert enrolling.status()["link"] != "down"
    enrol(enrolling, token_for(say))
    enrolling.wait(lambda: is_linked(enrolling))


def test_who_is_removed_is_out_also_under_the_same_name_later(enrolling: Stage, say: Say) -> None:
    """The name's next Sentry inherits nothing."""
    enrol(enrolling, token_for(say))
    own = file_of(enrolling)
    assert call(enrolling, "GET", "/v1/decisions?after=0&limit=1", own=own) == 200
    say("sentrys", "delete", "edge")
    token_for(say)
    with pytest.raises(CLOSED):
        call(enrolling, "GET", "/v1/decisions?after=0&limit=1", own=own)


def test_an_enrolled_certificate_makes_nobody_an_administrator(enrolling: Stage, say: Say) -> None:
    """Though the settings have one of just this subject, who would come with a certificate of the other authority."""
    enrol(enrolling, token_for(say))
    assert call(enrolling, "GET", "/admin/v1/status", own=file_of(enrolling)) == 403


def test_the_port_of_enrolment_serves_nothing_else(enrolling: Stage, say: Say) -> None:
    """There nobody shows a certificate, so there is nothing for those who have one."""
    enrol(enrolling, token_for(say))
    port, own = enrolment_port(enrolling), file_of(enrolling)
    for path in ("/v1/decisions?after=0&limit=1", "/admin/v1/status", "/admin/v1/enrolments"):
        assert call(enrolling, "GET", path, port=port, own=own) == 404
    assert call(enrolling, "POST", "/v1/renewals", {"csr": "x"}, port=port, own=own) == 404


def test_a_server_of_another_authority_is_told_no_token(enrolling: Stage, say: Say) -> None:
    """The agent sends a token to nobody but the UEM whose authority it was told."""
    token = token_for(say)
    link = enrolling.settings.agent.uem
    strangers = msgspec.structs.replace(link, tls=enrolling.pki.client(None, trust="strangers"))
    enrolling.running[-1].kill()
    enrolling.settings = msgspec.structs.replace(
        enrolling.settings, agent=msgspec.structs.replace(enrolling.settings.agent, uem=strangers)
    )
    enrolling.agent()
    with pytest.raises(ControlError, match="CERTIFICATE_VERIFY_FAILED"):
        enrol(enrolling, token)
    assert call(enrolling, "POST", "/v1/enrolments", asked(token), port=enrolment_port(enrolling)) == 200


def test_the_certificate_outlives_both_processes(enrolling: Stage, say: Say) -> None:
    """After a kill of agent and UEM the link comes back by itself."""
    enrol(enrolling, token_for(say))
    enrolling.wait(lambda: is_linked(enrolling))
    enrolling.end()
    enrolling.uem()
    enrolling.agent()
    enrolling.wait(lambda: is_linked(enrolling))


def test_another_authority_makes_nobody_an_enrolled_sentry(enrolling: Stage, say: Say) -> None:
    """The name of one in a certificate of the site's authority would else outlive every revocation."""
    token_for(say)
    own = enrolling.folder / "namesake.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-addext", "extendedKeyUsage=clientAuth"]
    ca = str(enrolling.pki.folder / "ca")
    signing = ["-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-days", "2", "-subj", "/OU=Enrolled Sentry/CN=edge"]
    openssl("req", "-x509", *curve, *signing, "-keyout", "key.pem", "-out", "only.pem", folder=enrolling.folder)
    own.write_text((enrolling.folder / "key.pem").read_text() + (enrolling.folder / "only.pem").read_text())
    for method, path in (("GET", "/v1/decisions?after=0&limit=1"), ("GET", "/v1/settings"), ("POST", "/v1/renewals")):
        assert call(enrolling, method, path, None if method == "GET" else {"csr": "x"}, own=own) == 403


def test_who_renews_from_elsewhere_is_in_the_audit_trail_with_the_address(enrolling: Stage, say: Say) -> None:
    """A thief of the file gets the next certificate, and by that is seen; a new token ends what he has."""
    token = token_for(say)
    with enrolling.audit() as trail:
        enrol(enrolling, token)
        stolen = file_of(enrolling).read_bytes()
        own = enrolling.folder / "stolen.pem"
        own.write_bytes(stolen)
        body = {"csr": identity.request(identity.new_key(), "edge")}
        assert call(enrolling, "POST", "/v1/renewals", body, own=own) == 200
        line = trail.until("uem_renewed")[-1]
    assert line["detail"].startswith("Sentry edge at 127.0.0.1: certificate ")
    enrol(enrolling, token_for(say))
    with pytest.raises(CLOSED):
        call(enrolling, "POST", "/v1/renewals", body, own=own)
    enrolling.wait(lambda: is_linked(enrolling))


def test_renewals_are_slowed_down(enrolling: Stage, say: Say) -> None:
    """Each costs the UEM a signature and a write; a Sentry needs one in two months."""
    enrol(enrolling, token_for(say))
    body = {"csr": identity.request(identity.new_key(), "edge")}
    found = [call(enrolling, "POST", "/v1/renewals", body, own=file_of(enrolling)) for _ in range(15)]
    assert (found[0], found[-1]) == (200, 429)
    assert len(certificates(say)) <= 2
