"""Four kinds of connections, four profiles: where each ends up, what is refused, and the words of before."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from appliance.config.schema import Schema
from appliance.config.steps import with_tls_profiles
from appliance.features import gateway, portal
from appliance.features.base import Tree
from appliance.plan import InvalidError
from sentry_runtime.settings import SUITES
from tests.site_pki import authority, server

LabWith = Callable[[Callable[[dict[str, Any]], None]], Tree]
RSA = [suite for suite in SUITES if "-RSA-" in suite]


def with_tls(lab_with: LabWith, **profiles: Any) -> Tree:
    return lab_with(lambda tree: tree.update(tls=profiles))


def test_each_profile_ends_up_at_its_own_connections(lab_with: LabWith) -> None:
    """And at no other; the UEM in the box pushes with what our own port speaks."""
    ranges = {
        "incoming": ("1.2", "1.3"),
        "outgoing": ("1.3", "1.3"),
        "uem": ("1.2", "1.2"),
        "management": ("1.2", "1.3"),
    }
    suites = {"incoming": SUITES[:1], "outgoing": SUITES[:2], "uem": SUITES[:3], "management": SUITES[2:3]}
    profiles = {
        name: {"minimum": low, "maximum": high, "ciphers": list(suites[name])} for name, (low, high) in ranges.items()
    }
    tree = with_tls(lab_with, **profiles)
    found, web = gateway.settings(tree), portal.proxy_settings(tree)
    assert found.uem_server is not None
    assert found.agent.uem.push_tls is not None
    (mail,) = found.gateway.backends
    places: dict[str, list[Any]] = {
        "incoming": [found.gateway.tls],
        "outgoing": [mail.tls],
        "uem": [found.agent.uem.tls, found.uem_server.tls],
        "management": [web.tls, found.agent.uem.push_tls, found.uem_server.push_tls],
    }
    for name, held in places.items():
        for one in held:
            assert one is not None
            assert ((one.minimum, one.maximum), one.suites) == (ranges[name], suites[name]), name


def test_the_default_is_tls_1_2_alone_with_every_suite_that_is_approved(lab_with: LabWith) -> None:
    """V-251013."""
    found = gateway.settings(lab_with(lambda _tree: None))
    assert (found.gateway.tls.minimum, found.gateway.tls.maximum, found.gateway.tls.suites) == ("1.2", "1.2", SUITES)


def test_one_server_may_have_versions_of_its_own(lab_with: LabWith) -> None:
    """A server that cannot do what the others do must not weaken them."""

    def change(tree: dict[str, Any]) -> None:
        tree["tls"] = {"outgoing": {"minimum": 1.3, "maximum": 1.3}}
        tree["backends"]["servers"]["old"] = {"host": "10.98.3.11", "tls_versions": {"minimum": 1.2, "maximum": 1.2}}

    mail, old = gateway.settings(lab_with(change)).gateway.backends
    assert mail.tls is not None
    assert old.tls is not None
    assert (mail.tls.minimum, old.tls.minimum, old.tls.suites) == ("1.3", "1.2", SUITES)


@pytest.mark.parametrize(
    ("connection", "value", "path", "words"),
    [
        ("uem", {"minimum": 1.3, "maximum": 1.2}, "tls.uem.minimum", "1.3"),
        ("incoming", {"maximum": 1.1}, "tls.incoming.maximum", "1.2, 1.3"),
        ("incoming", {"ciphers": []}, "tls.incoming.ciphers", "1 to 4 items"),
        ("incoming", {"ciphers": ["AES256-SHA"]}, "tls.incoming.ciphers.0", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        ("incoming", {"ciphers": [SUITES[0], SUITES[0]]}, "tls.incoming.ciphers", "every item once"),
        ("incoming", {"ciphers": RSA}, "tls.incoming.ciphers", "one with ECDSA among them: the certificate of gateway"),
        ("management", {"ciphers": RSA}, "tls.management.ciphers", "the certificate of portal"),
    ],
)
def test_what_nobody_could_connect_with_is_refused(
    lab_with: LabWith, connection: str, value: dict[str, Any], path: str, words: str
) -> None:
    with pytest.raises(InvalidError) as refused:
        with_tls(lab_with, **{connection: value})
    assert any(problem.path == path and words in str(problem) for problem in refused.value.problems), refused.value


def test_suites_for_the_other_kind_of_key_are_taken_once_the_certificate_has_it(lab_with: LabWith) -> None:
    """Of a key made here, and of an uploaded certificate; TLS 1.3 asks for neither."""
    root = authority("root")
    uploaded = server(root, key="rsa3072").pem + root.pem

    def change(tree: dict[str, Any]) -> None:
        tree["tls"] = {"incoming": {"ciphers": RSA}}
        tree["certificates"] = {"servers": {"gateway": {"key_type": "rsa3072"}}}

    def upload(tree: dict[str, Any]) -> None:
        tree["tls"] = {"incoming": {"ciphers": RSA}}
        tree["certificates"] = {"servers": {"gateway": {"certificate": uploaded}}}

    assert gateway.settings(lab_with(change)).gateway.tls.suites == tuple(RSA)
    assert gateway.settings(lab_with(upload)).gateway.tls.suites == tuple(RSA)
    with_tls(lab_with, incoming={"minimum": 1.3, "maximum": 1.3, "ciphers": RSA})


def test_the_words_of_before_become_todays(lab_with: LabWith, schema: Schema) -> None:
    """A revision that an older version kept runs on, with the same versions in the same places."""
    today = deepcopy(dict(lab_with(lambda _tree: None)))
    old = deepcopy(today)
    del old["tls"]
    old["gateway"]["tls"] = {"minimum": "1.2", "maximum": "1.3"}
    old["portal"]["tls"] = {"minimum": "1.3", "maximum": "1.3"}
    old["backends"]["servers"]["mail"]["tls_versions"] = {"minimum": "1.2", "maximum": "1.2"}
    made = with_tls_profiles(old)
    assert made["tls"] == {
        "incoming": {"minimum": "1.2", "maximum": "1.3"},
        "management": {"minimum": "1.3", "maximum": "1.3"},
    }
    assert schema.fill(made)["backends"] == today["backends"]
    assert {**made, "tls": today["tls"]} == today
    assert with_tls_profiles(made) == made
    assert with_tls_profiles(today) == today
    assert old["gateway"]["tls"], "what was given is as it was"


def test_words_of_before_that_say_something_of_their_own_are_kept() -> None:
    old = {
        "uem": {"mode": "epmm", "epmm": {"tls_versions": {"minimum": "1.3", "maximum": "1.3"}}},
        "backends": {"servers": {"m": {"tls_versions": {"minimum": "1.2", "maximum": "1.3"}}}},
    }
    made = with_tls_profiles(old)
    assert made["tls"] == {"uem": {"minimum": "1.3", "maximum": "1.3"}}
    assert made["backends"] == old["backends"]
    assert with_tls_profiles({}) == {}
    assert with_tls_profiles({"gateway": 5, "backends": [], "uem": None}) == {"gateway": 5, "backends": [], "uem": None}
