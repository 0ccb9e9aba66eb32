"""What a backend's answers to the gateway's own Provision mean."""

import pytest

from sentry_runtime.eas import demand
from sentry_runtime.eas.policy import Policy, document, wap_document
from sentry_runtime.eas.provision import EAS_WBXML, WAP_XML, PolicyAnswer, Response, encode_response
from sentry_runtime.gateway import backend_answers
from sentry_runtime.gateway.backend_answers import Demands, Grants, Refuses, Stale, Wipes
from sentry_runtime.gateway.backends import BackendsDownError
from sentry_runtime.gateway.contact import CredentialsRefusedError
from sentry_runtime.gateway.inquiry import Heard

POLICY = Policy(min_device_password_length=8)


def heard(response: Response, status: int = 200) -> Heard:
    """A backend's answer."""
    return Heard(status, encode_response(response, "16.1"))


def policy(status: int, key: int | None = None, document: object = None, kind: str = EAS_WBXML) -> Heard:
    """An answer with a Policy."""
    return heard(Response(policy=PolicyAnswer(kind, status, key, document)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "unknown", "known"),
    [
        (policy(1, 7, POLICY), "Demands", "Demands"),
        (policy(1, 7, wap_document(POLICY), WAP_XML), "Demands", "Demands"),
        (policy(2), "Nothing", "Nothing"),
        (heard(Response()), "Nothing", "Nothing"),
        (policy(3), "Nothing", "backend_provision_failed"),
        (Heard(200), "Nothing", "backend_policy_unreadable"),
        (Heard(501), "Nothing", "backend_provision_failed"),
        (policy(4), "backend_provision_failed", "backend_provision_failed"),
        (policy(1, 0, POLICY), "backend_policy_unreadable", "backend_policy_unreadable"),
        (policy(1, 7), "backend_policy_unreadable", "backend_policy_unreadable"),
        (policy(1, 7, "<html/>"), "backend_policy_unreadable", "backend_policy_unreadable"),
        (Heard(200, b"<html>"), "backend_policy_unreadable", "backend_policy_unreadable"),
        (Heard(200, b"x", encoded=True), "backend_provision_failed", "backend_provision_failed"),
        (Heard(449), "backend_provision_failed", "backend_provision_failed"),
        (Heard(503), "backend_provision_failed", "backend_provision_failed"),
        (Heard(307), "backend_redirects", "backend_redirects"),
        (heard(Response(status=3)), "backend_provision_failed", "backend_provision_failed"),
        (heard(Response(status=111)), "backend_provision_failed", "backend_provision_failed"),
        (heard(Response(status=165)), "Refuses", "Refuses"),
        (Heard(403), "Refuses", "Refuses"),
        (heard(Response(remote_wipe=True)), "Wipes", "Wipes"),
        (heard(Response(status=140)), "Wipes", "Wipes"),
        (Heard(401), "credentials", "credentials"),
    ],
)
def test_the_answer_to_phase_1(answer: Heard, unknown: str, known: str) -> None:
    """From a backend of which nothing is known, and from one that is known to enforce a policy."""
    for expected, enforces in ((unknown, False), (known, True)):
        try:
            found = type(backend_answers.asked(answer, known=enforces)).__name__
        except BackendsDownError as error:
            found = error.reason
        except CredentialsRefusedError:
            found = "credentials"
        assert found == expected


def test_what_a_backend_demands_comes_with_its_key() -> None:
    """As it has said it."""
    assert backend_answers.asked(policy(1, 7, POLICY), known=False) == Demands(7, demand.read(document(POLICY, "16.1")))


def test_which_wipe_a_backend_orders() -> None:
    """The greater one where it orders both, also beside a policy."""
    for whole, account in ((True, False), (False, True), (True, True)):
        answer = heard(
            Response(policy=PolicyAnswer(EAS_WBXML, 1, 7, POLICY), remote_wipe=whole, account_only_remote_wipe=account)
        )
        for read in (lambda one: backend_answers.asked(one, known=False), backend_answers.acknowledged):
            assert read(answer) == Wipes(account_only=not whole)


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (policy(1, 9), Grants(9)),
        (policy(1, 9, POLICY), Grants(9)),
        (policy(5), Stale),
        (policy(2), Stale),
        (heard(Response()), Stale),
        (Heard(449, b"x"), Stale),
        (policy(4, 9), Refuses(139)),
        (heard(Response(status=139)), Refuses(139)),
        (policy(1), "backend_provision_failed"),
        (policy(1, 0), "backend_provision_failed"),
        (Heard(200), "backend_policy_unreadable"),
        (Heard(500), "backend_provision_failed"),
        (Heard(451), "backend_redirects"),
    ],
)
def test_the_answer_to_phase_2(answer: Heard, meaning: object) -> None:
    """Only a key grants anything."""
    if isinstance(meaning, str):
        with pytest.raises(BackendsDownError) as caught:
            backend_answers.acknowledged(answer)
        assert caught.value.reason == meaning
        return
    found = backend_answers.acknowledged(answer)
    assert isinstance(found, meaning) if isinstance(meaning, type) else found == meaning


def test_a_document_of_another_command_is_no_word_on_the_policy() -> None:
    """Not even one that could be read."""
    answer = Heard(200, b"\x03\x01\x6a\x00\x45\x4e\x03\x31\x00\x01\x01")
    with pytest.raises(BackendsDownError, match="backend_policy_unreadable"):
        backend_answers.asked(answer, known=False)


def test_two_policies_with_more_names_than_one_may_have_are_not_joined() -> None:
    """The device is to come back, and is told of neither."""
    own, theirs = (
        Policy(unapproved_in_rom_application_list=tuple(f"{mark}{number:03}" + "x" * 252 for number in range(64)))
        for mark in "ab"
    )
    answer = backend_answers.asked(policy(1, 7, theirs), known=False)
    assert isinstance(answer, Demands)
    assert backend_answers.joined(theirs, answer.demand).policy == theirs
    with pytest.raises(BackendsDownError, match="backend_policy_unreadable"):
        backend_answers.joined(own, answer.demand)
