"""What another server demands of a device: its policy documents, and what becomes of them with a policy of ours."""

import contextlib
from xml.sax.saxutils import quoteattr

import msgspec

from sentry_runtime.eas import demand, provision, wap, wbxml
from sentry_runtime.eas.codepages import PROVISION
from sentry_runtime.eas.demand import Demand
from sentry_runtime.eas.policy import Policy, PolicyError, digest, document, wap_document
from sentry_runtime.eas.strictness import stricter
from sentry_runtime.eas.wbxml import Element, element, encode
from sentry_runtime.gateway import backend_answers
from sentry_runtime.gateway.backend_answers import Demands, Wipes
from sentry_runtime.gateway.backends import BackendsDownError
from sentry_runtime.gateway.contact import CredentialsRefusedError
from sentry_runtime.gateway.inquiry import Heard
from tests.fuzz.target import Target, one_word

OWN = Policy(
    device_password_enabled=True,
    min_device_password_length=6,
    max_inactivity_time_device_lock=900,
    allow_camera=False,
    unapproved_in_rom_application_list=("calc.exe",),
    approved_application_list=("00" * 20, "11" * 20),
)
OWNS = (OWN, Policy(), Policy(device_password_enabled=True))


def strictness(data: bytes) -> None:
    """Two policies a line each (JSON): the stricter of both does not depend on their order, and binds as much as either."""
    read = msgspec.json.Decoder(Policy).decode
    first, _, second = data.partition(b"\n")
    try:
        one, other = read(first), read(second)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
    with contextlib.suppress(PolicyError):  # more names than a policy may have
        both = stricter(one, other)
        assert both == stricter(other, one)
        assert both == stricter(both, one) == stricter(both, other) == stricter(both, both)
        assert stricter(both, OWN) == stricter(one, stricter(other, OWN))
        for policy in (one, both):
            assert demand.read(document(policy, "16.1")).policy == stricter(policy, Policy())
        assert digest(read(msgspec.json.encode(one))) == digest(one)


def demanded(data: bytes) -> None:
    """A document in WBXML: joined with ours, nothing of either is lost, and the joint one can be read as it was meant."""
    try:
        root = wbxml.decode(data)
    except wbxml.WbxmlError:
        return
    for own in OWNS:
        with contextlib.suppress(PolicyError):
            _check_joint(own, demand.read(root))


def _check_joint(own: Policy, found: Demand) -> None:
    joint = demand.join(own, found)
    assert stricter(joint.policy, found.policy) == stricter(joint.policy, own) == joint.policy
    whole = joint.document("2.5")
    assert wbxml.decode(encode(whole)) == whole
    again = demand.read(whole)
    assert again.others == found.others
    # An element without content demands nothing.
    assert again.said >= {field for field in found.said if getattr(joint.policy, field) not in (None, ())}
    assert again.said >= set(demand.read(document(joint.policy, "2.5")).said)
    assert demand.read(joint.document("16.1")).policy == joint.policy
    assert joint.digest == demand.join(own, found).digest


def wap_documents(data: bytes) -> None:
    """A WAP provisioning document: the same, for clients of 2.5."""
    try:
        text = data.decode()
        found = demand.read(text)
    except (UnicodeDecodeError, PolicyError):
        return
    assert len(wap.parameters(text)) <= wap.PARAMETERS
    for own in OWNS:
        _check_wap(own, found)


def _check_wap(own: Policy, found: Demand) -> None:
    joint = demand.join(own, found)
    again = demand.read(joint.wap_document())
    assert again.parameters == found.parameters
    assert again.policy.device_password_enabled is joint.policy.device_password_enabled
    if not joint.policy.device_password_enabled:
        return  # of no password there is nothing more to say
    for field in (
        "min_device_password_length",
        "max_inactivity_time_device_lock",
        "max_device_password_failed_attempts",
    ):
        wanted, got = getattr(joint.policy, field), getattr(again.policy, field)
        # In whole minutes, towards the stricter side.
        assert got == (max(1, wanted // 60) * 60 if wanted and field == "max_inactivity_time_device_lock" else wanted)
    assert joint.policy.alphanumeric_device_password_required or not again.policy.alphanumeric_device_password_required


STATUSES = (200, 200, 200, 401, 403, 404, 449, 451, 503)


def answer(data: bytes) -> None:
    """A backend's answer to the gateway's own Provision: its status by the first byte, then the body."""
    if not data:
        return
    heard = Heard(STATUSES[data[0] % len(STATUSES)], data[1:])
    for known in (False, True):
        try:
            found = backend_answers.asked(heard, known=known)
        except BackendsDownError as error:
            one_word(error)
        except CredentialsRefusedError:
            assert heard.status == 401
        else:
            if isinstance(found, Demands):
                assert 0 < found.key < 1 << 32
                with contextlib.suppress(BackendsDownError):
                    joint = backend_answers.joined(OWN, found.demand)
                    wbxml.decode(encode(joint.document("16.1")))
                    assert wap.parameters(joint.wap_document())
            if isinstance(found, Wipes):
                response = provision.decode_response(heard.body, as_sent=True)
                assert found.account_only is (response.account_only_remote_wipe and not response.remote_wipe)
    with contextlib.suppress(BackendsDownError, CredentialsRefusedError):
        backend_answers.acknowledged(heard)


def _eas_documents() -> list[bytes]:
    names = [element(PROVISION, "ApplicationName", f"{number}{'x' * 250}") for number in range(70)]
    foreign = Element(25, 0x3F, (Element(14, 0x06, ("1",)), b"\x00"))
    documents = [
        document(OWN, "16.1"),
        document(Policy(), "12.0"),
        element(
            PROVISION,
            "EASProvisionDoc",
            element(PROVISION, "MaxInactivityTimeDeviceLock", "9999"),
            element(PROVISION, "MinDevicePasswordLength"),
            element(PROVISION, "MinDevicePasswordLength", "4"),
            element(PROVISION, "MinDevicePasswordLength", "8"),
            element(PROVISION, "MaxEmailBodyTruncationSize", "-1"),
            element(PROVISION, "ApprovedApplicationList", element(PROVISION, "Hash", b"\x01" * 20)),
            foreign,
        ),
        element(PROVISION, "EASProvisionDoc", element(PROVISION, "UnapprovedInROMApplicationList", *names)),
        element(PROVISION, "EASProvisionDoc", element(PROVISION, "UnapprovedInROMApplicationList", *names[:60])),
    ]
    return [encode(one) for one in documents]


def _wap_documents() -> list[bytes]:
    def registry(*parameters: tuple[str, str]) -> bytes:
        parts = "".join(f"<parm name={quoteattr(name)} value={quoteattr(value)}/>" for name, value in parameters)
        inner = (
            f'<characteristic type="Registry"><characteristic type="HKLM\\x">{parts}</characteristic></characteristic>'
        )
        return f"<wap-provisioningdoc>{inner}</wap-provisioningdoc>".encode()

    return [
        wap_document(OWN).encode(),
        wap_document(Policy()).encode(),
        registry(("AEFrequencyType", "1"), ("AEFrequencyValue", "200"), ("DeviceWipeThreshold", "5")),
        registry(("AEFrequencyType", "1"), ("AEFrequencyValue", "3"), ("PasswordComplexity", "0"), ("4131", "0")),
        registry(("MinimumPasswordLength", "8"), ("minimumpasswordlength", "9"), ("Own & only", "\n\t<ä")),
        registry(("AEFrequencyValue", "99999999999"), ("AEFrequencyType", "1")),
        b'<wap-provisioningdoc><characteristic><parm a="1" name=""/></characteristic></wap-provisioningdoc>',
        b"<!DOCTYPE a><wap-provisioningdoc/>",
    ]


def _answers() -> list[bytes]:
    bodies = []
    for one in _eas_documents():
        given = provision.PolicyAnswer(provision.EAS_WBXML, key=7, document=wbxml.decode(one))
        bodies.append(provision.encode_response(provision.Response(policy=given), "16.1"))
    for text in _wap_documents():
        given = provision.PolicyAnswer(provision.WAP_XML, key=7, document=text.decode())
        bodies.append(provision.encode_response(provision.Response(policy=given), "2.5"))
    bodies += [
        provision.encode_response(response, "16.1")
        for response in (
            provision.Response(remote_wipe=True),
            provision.Response(account_only_remote_wipe=True),
            provision.Response(status=140),
            provision.Response(policy=provision.PolicyAnswer(provision.EAS_WBXML, 3)),
            provision.Response(policy=provision.PolicyAnswer(provision.EAS_WBXML, key=7)),
        )
    ]
    return [bytes((at % len(STATUSES),)) + body for at, body in enumerate(bodies)] + [b"\0" + one for one in bodies]


TARGETS = {
    "strictness": Target(
        strictness,
        [
            msgspec.json.encode(OWN) + b"\n" + msgspec.json.encode(Policy()),
            msgspec.json.encode(OWN)
            + b"\n"
            + msgspec.json.encode(
                Policy(
                    device_password_expiration=0,
                    max_email_age_filter=0,
                    allow_bluetooth=1,
                    require_encryption_smime_algorithm=2,
                    max_email_body_truncation_size=-1,
                    unapproved_in_rom_application_list=("b.exe", "a.exe"),
                    approved_application_list=("22" * 20,),
                )
            ),
            b'{"max_calendar_age_filter":4,"allow_html_email":true}\n{"max_calendar_age_filter":0,"allow_html_email":false}',
        ],
    ),
    "demand": Target(demanded, _eas_documents(), longest=32_768),
    "wap": Target(wap_documents, _wap_documents()),
    "backend_policy": Target(answer, _answers(), longest=32_768),
}
