"""A UEM of another vendor in a site: what the agent is told, where it may dial, where its secret lies, what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance import uem_secret
from appliance.config.secrets import Memory
from appliance.features import FEATURES, flows, gateway, uem, vendors
from appliance.features.base import Tree
from appliance.plan import InvalidError
from appliance.render import render_all
from sentry_runtime import settings as runtime_settings
from sentry_runtime.settings import Epmm, Intune

from .conftest import MATERIAL
from .test_settings_files import runtime

LabWith = Callable[[Callable[[dict[str, Any]], None]], Tree]

PASSWORD, SECRET = "canary-password-1f", "canary-secret-2e"
EPMM = {"host": "core.lab.test", "account": "sentry-api", "password": PASSWORD}
INTUNE = {"tenant": "lab.test", "client": "0d1c6f2e-5a5e-4a9f-8d7e-3b0f5a1c2d3e", "client_secret": SECRET}


@pytest.fixture
def with_epmm(lab_with: LabWith) -> Callable[..., Tree]:
    """The lab with EPMM in the UEM's place."""

    def make(**more: Any) -> Tree:
        return lab_with(lambda tree: tree["uem"].update(mode="epmm", epmm={**EPMM, **more}))

    return make


@pytest.fixture
def with_intune(lab_with: LabWith) -> Callable[..., Tree]:
    """The lab with Intune in the UEM's place."""

    def make(**more: Any) -> Tree:
        return lab_with(lambda tree: tree["uem"].update(mode="intune", intune={**INTUNE, **more}))

    return make


def test_the_agent_is_told_of_epmm(with_epmm: Callable[..., Tree], tmp_path: Path) -> None:
    """Its host, the account, where the password lies; the UEM in the box does not run."""
    found = runtime(with_epmm(), tmp_path)
    link = found.agent.uem
    assert (link.mode, link.url, link.push_tls) == ("epmm", "https://core.lab.test", None)
    assert (link.tls.trust, link.tls.certificate) == ("/etc/ssl/certs/ca-certificates.crt", None)
    assert link.adapter == Epmm(account="sentry-api", password=uem_secret.PLACE)
    assert (link.resync_seconds, link.timeout_seconds) == (vendors.POLL_SECONDS, 5)
    assert found.uem_server is None


def test_the_agent_is_told_of_intune(with_intune: Callable[..., Tree], tmp_path: Path) -> None:
    """Microsoft's own hosts, unless the site says others."""
    link = runtime(with_intune(), tmp_path).agent.uem
    assert (link.mode, link.url, link.push_tls) == ("intune", "https://graph.microsoft.com", None)
    assert link.adapter == Intune(
        login_url="https://login.microsoftonline.com",
        tenant="lab.test",
        client=INTUNE["client"],
        secret=uem_secret.PLACE,
    )


def test_every_setting_of_a_vendor_reaches_the_agent(
    with_epmm: Callable[..., Tree], with_intune: Callable[..., Tree], tmp_path: Path
) -> None:
    """None is without effect."""
    authority = (MATERIAL / "authority.pem").read_text()
    common = {"contact_days": 9, "poll_seconds": 90, "ca_certificates": authority}
    core = with_epmm(**common, host="2001:db8::7", port=8443, device_space=3, user_field="mailbox")
    core["tls"]["uem"]["maximum"] = "1.3"
    link = runtime(core, tmp_path).agent.uem
    assert (link.url, link.tls.trust, link.tls.maximum) == ("https://[2001:db8::7]:8443", vendors.TRUST, "1.3")
    assert link.adapter == Epmm(
        account="sentry-api", password=uem_secret.PLACE, device_space=3, principal="mailbox", contact_days=9
    )
    assert link.resync_seconds == 90
    assert render_all(core, FEATURES)[vendors.TRUST].text == authority
    cloud = with_intune(
        **common,
        host="graph.microsoft.us",
        login_host="login.microsoftonline.us",
        user_field="email_address",
        block_unencrypted=True,
    )
    cloud["uem"]["auto_block_unregistered"] = False
    link = runtime(cloud, tmp_path).agent.uem
    assert link.url == "https://graph.microsoft.us"
    adapter = link.adapter
    assert isinstance(adapter, Intune)
    assert (adapter.login_url, adapter.principal) == ("https://login.microsoftonline.us", "email_address")
    assert (adapter.block_unencrypted, adapter.block_unregistered, adapter.contact_days) == (True, False, 9)


def test_the_agent_may_dial_the_uem_and_nobody_else(
    with_epmm: Callable[..., Tree], with_intune: Callable[..., Tree]
) -> None:
    """By the listed networks, else by the static address; a name without either may be anybody, for the agent alone."""

    def of(tree: Tree) -> list[tuple[int, tuple[str, ...], str | None]]:
        return [(one.port, one.peers, one.user) for one in flows(tree) if one.feature == "uem"]

    assert of(with_epmm(host="192.0.2.7", port=8443)) == [(8_443, ("192.0.2.7",), "sentry-agent")]
    assert of(with_epmm(networks=["192.0.2.0/24"])) == [(443, ("192.0.2.0/24",), "sentry-agent")]
    assert of(with_epmm()) == [(443, (), "sentry-agent")]
    nets = ["20.20.32.0/19", "2603:1006::/40"]
    assert of(with_intune(networks=nets)) == [(443, tuple(nets), "sentry-agent")]
    assert of(with_intune(host="192.0.2.7", port=8443)) == [
        (443, (), "sentry-agent"),
        (8_443, ("192.0.2.7",), "sentry-agent"),
    ]


def test_the_embedded_uem_needs_no_way_out(trees: dict[str, Tree]) -> None:
    """And has no secret file."""
    for tree in trees.values():
        assert [one for one in flows(tree) if one.feature == "uem"] == []
        assert vendors.TRUST not in render_all(tree, FEATURES)


def test_no_secret_is_in_any_file(with_epmm: Callable[..., Tree], with_intune: Callable[..., Tree]) -> None:
    """Nor a reference to one."""
    for tree in (with_epmm(), with_intune()):
        texts = [file.text for file in render_all(tree, FEATURES).values()]
        assert not [text for text in texts if "canary" in text or "secret:" in text]
        assert "canary" not in json.dumps(tree)


@pytest.mark.parametrize(
    ("settings", "path", "words"),
    [
        ({"mode": "epmm"}, "uem.epmm", "the mode is epmm"),
        ({"mode": "intune"}, "uem.intune", "the mode is intune"),
        ({"epmm": EPMM}, "uem.epmm", "none, since the mode is embedded"),
        ({"mode": "epmm", "epmm": EPMM, "intune": INTUNE}, "uem.intune", "none, since the mode is epmm"),
        ({"mode": "epmm", "epmm": {**EPMM, "password": ""}}, "uem.epmm.password", "one line"),
        ({"mode": "epmm", "epmm": {**EPMM, "account": "a:b"}}, "uem.epmm.account", "without blanks and colons"),
        ({"mode": "epmm", "epmm": {**EPMM, "host": "https://core"}}, "uem.epmm.host", "DNS name"),
        ({"mode": "epmm", "epmm": {**EPMM, "poll_seconds": 5}}, "uem.epmm.poll_seconds", "60"),
        ({"mode": "epmm", "epmm": {**EPMM, "user_field": "email"}}, "uem.epmm.user_field", "user_name, domain_user"),
        ({"mode": "intune", "intune": {**INTUNE, "client": "me"}}, "uem.intune.client", "client"),
        ({"mode": "intune", "intune": {**INTUNE, "tenant": "a/b"}}, "uem.intune.tenant", "tenant"),
        ({"mode": "intune", "intune": {**INTUNE, "client_secret": "a\nb"}}, "uem.intune.client_secret", "one line"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, Any], path: str, words: str, lab_with: LabWith) -> None:
    """With its place, and without the secret."""
    with pytest.raises(InvalidError) as refused:
        lab_with(lambda tree: tree["uem"].update(settings))
    (problem,) = refused.value.problems
    assert problem.path == path
    assert words in problem.allowed
    assert "canary" not in str(problem)


class Box:
    """A machine with files in memory; `calls` are the commands."""

    def __init__(self, vault: Memory) -> None:
        self.vault = vault
        self.files: dict[str, str] = {}
        self.calls: list[list[str]] = []

    def read(self, path: str) -> str | None:
        """The text of a file."""
        return self.files.get(path)

    def secret(self, reference: str) -> str:
        """What the site gave."""
        return self.vault.reveal(reference)

    def run(self, argv: list[str], *, stdin: str | None = None) -> str:
        """What the command would have done."""
        self.calls.append(argv)
        match argv[0]:
            case "install":
                self.files[argv[-1]] = stdin or ""
            case "mv":
                self.files[argv[-1]] = self.files.pop(argv[-2])
            case "rm":
                del self.files[argv[-1]]
            case "stat":
                return "640 root:sentry-agent\n"
        return ""


def test_the_secret_lies_where_the_agent_looks_and_nowhere_else(
    with_epmm: Callable[..., Tree], with_intune: Callable[..., Tree], trees: dict[str, Tree], vault: Memory
) -> None:
    """Put once, replaced with another one, taken away with the mode; the agent is told, and no argument list has it."""
    box = Box(vault)
    assert uem.reconcile(with_epmm(), box)
    assert box.files == {uem_secret.PLACE: PASSWORD}
    assert ["systemctl", "try-restart", "--", "sentry-agent.service"] in box.calls
    box.calls.clear()
    assert not uem.reconcile(with_epmm(), box)
    assert [argv[0] for argv in box.calls] == ["stat"]
    assert uem.reconcile(with_intune(), box)
    assert box.files == {uem_secret.PLACE: SECRET}
    assert uem.reconcile(trees["lab"], box)
    assert box.files == {}
    assert not uem.reconcile(trees["lab"], box)
    assert "canary" not in json.dumps(box.calls)


def test_the_agents_time_out_fits_into_a_devices_patience(with_epmm: Callable[..., Tree]) -> None:
    """As with the UEM in the box."""
    assert uem.agent(with_epmm()).uem.timeout_seconds < runtime_settings.Limits().decision_seconds
    assert json.loads(gateway.render(with_epmm())[gateway.RUNTIME].text)["agent"]["uem"]["adapter"]["vendor"] == "epmm"
