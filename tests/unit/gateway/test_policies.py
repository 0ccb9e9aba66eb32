"""Which policy a device must apply, and its keys."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.devices.enforcement import Enforcement
from sentry_runtime.devices.record import DeviceKey, Record, State
from sentry_runtime.eas.policy import Policy, digest
from sentry_runtime.gateway.decide import Need, Unreadable
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.policies import Policies, SitePolicy, load
from sentry_runtime.settings import Gateway, ServerTls, SettingsError

SECRET = b"s" * 32
SITES, UEMS, OLD = (
    Policy(device_password_enabled=True),
    Policy(allow_camera=False),
    Policy(device_password_enabled=True, min_device_password_length=4),
)
SITE = SitePolicy(SITES, SECRET)
GATEWAY = Gateway(listeners=(), tls=ServerTls(certificate="/c", key="/k"), backends=())


class Shelf:
    """The UEM's policies, in memory. `enforced`: what is kept of a backend's for PHONE1; `anew`: what has just been kept."""

    def __init__(
        self, *held: Policy, enforced: Enforcement | Unreadable | None = None, anew: Enforcement | None = None
    ) -> None:
        self.held = {digest(policy): policy for policy in held}
        self.enforced, self.anew = enforced, anew

    def policy(self, wanted: bytes) -> Policy | None:
        """As the worker's."""
        return self.held.get(wanted)

    def has_policies(self) -> bool:
        """As the worker's."""
        return bool(self.held)

    def enforcement(self, key: DeviceKey, *, anew: bool = False) -> Enforcement | Unreadable | None:
        """As the worker's."""
        assert key.device_id == "PHONE1"
        return self.anew if anew and self.anew is not None else self.enforced


def record(policy: Policy | None = None, before: bytes | None = None, principal: str = "anna") -> Record:
    """PHONE1's entry; `before` as it stands there."""
    named = b"" if policy is None else digest(policy)
    key = DeviceKey("PHONE1", principal)
    return Record(key=key, state=State.ALLOWED, version=1, policy=named, policy_before=before)


def claim(key: int | None = None, *aliases: str, command: str = "Sync", principal: str = "anna") -> Claim:
    """A request of PHONE1."""
    return Claim(DeviceKey("PHONE1", principal), aliases, "iPhone", principal, command, "14.1", key)


def final(site: SitePolicy, entry: Record) -> int:
    """The key that opens."""
    return Policies(site, Shelf(UEMS)).keys(claim(), entry).final


def test_the_uems_word_goes_before_the_sites() -> None:
    """And where neither wants a policy, nothing is needed."""
    both, uems, none = (
        Policies(SITE, Shelf(UEMS)),
        Policies(SitePolicy(secret=SECRET), Shelf(UEMS)),
        Policies(SitePolicy(), Shelf()),
    )
    assert [both.digest_of(one) for one in (record(UEMS), record())] == [digest(UEMS), digest(SITES)]
    assert [uems.digest_of(one) for one in (record(UEMS), record())] == [digest(UEMS), b""]
    assert uems.need(claim(), record()) is None
    assert uems.need(claim(), record(UEMS)) is Need.POLICY_KEY_MISSING
    for nobody in (None, Unreadable.ENTRY, Unreadable.LIST):
        assert (both.digest_of(nobody), both.need(claim(), nobody)) == (b"", None)
    assert [one.owns_any() for one in (both, uems, Policies(SITE, Shelf()), none)] == [True, True, True, False]
    assert both.need(Claim(None, (), "", "anna", "OPTIONS", "", None), record()) is None


def test_the_terms_are_the_policys() -> None:
    """One that cannot be read now has none, nor has one whose keys cannot be computed."""
    policies = Policies(SitePolicy(SITES, SECRET, lenient=True), Shelf(UEMS))
    for entry, policy in ((record(UEMS), UEMS), (record(), SITES)):
        terms = policies.terms(claim(), entry)
        assert terms is not None
        assert (terms.policy, terms.keys.final, terms.lenient) == (policy, final(SITE, entry), True)
    assert policies.terms(claim(), record(OLD)) is None
    assert Policies(SitePolicy(), Shelf(UEMS)).terms(claim(), record(UEMS)) is None


@pytest.mark.parametrize(
    ("site", "entry", "held", "need"),
    [
        pytest.param(SITE, record(UEMS, digest(OLD)), record(OLD), Need.POLICY_CHANGED, id="the UEM's before"),
        pytest.param(SITE, record(UEMS, b""), record(), Need.POLICY_CHANGED, id="the site's before"),
        pytest.param(SITE, record(None, digest(UEMS)), record(UEMS), Need.POLICY_CHANGED, id="back to the site's"),
        pytest.param(SITE, record(UEMS, None), record(OLD), Need.POLICY_KEY_WRONG, id="nobody knows it"),
        pytest.param(SITE, record(UEMS, digest(UEMS)), record(UEMS), None, id="it has not changed"),
        pytest.param(
            SitePolicy(SITES, SECRET, before=digest(OLD)), record(), record(OLD), Need.POLICY_CHANGED, id="new settings"
        ),
        pytest.param(
            SitePolicy(SITES, SECRET, before=digest(OLD)),
            record(UEMS),
            record(OLD),
            Need.POLICY_KEY_WRONG,
            id="not its own",
        ),
        pytest.param(SitePolicy(SITES, b"t" * 32), record(), record(), Need.POLICY_KEY_WRONG, id="another secret"),
    ],
)
def test_a_key_of_the_policy_before_is_told_from_any_other(
    site: SitePolicy, entry: Record, held: Record, need: Need | None
) -> None:
    """`held` is the entry under which the device got its key."""
    assert Policies(site, Shelf(UEMS)).need(claim(final(SITE, held)), entry) is need


HELD = Enforcement(final=7, digest=b"d" * 32)


def test_where_a_backend_enforces_a_policy_keys_are_made_over_both() -> None:
    """A change of either side makes another key; which keys the backend has given is no part of it."""
    policies, entry = Policies(SITE, Shelf()), record()
    joint = policies.keys(claim(), entry, HELD)
    others = [
        policies.keys(claim(), entry),
        policies.keys(claim(), entry, Enforcement(final=7, digest=b"e" * 32)),
        policies.keys(claim(), entry, Enforcement()),
        Policies(SitePolicy(UEMS, SECRET), Shelf()).keys(claim(), entry, HELD),
        policies.keys(claim(), record(UEMS), HELD),
    ]
    assert len({joint.final, joint.temporary, *(other.final for other in others)}) == 2 + len({*others})
    assert policies.keys(claim(), entry, Enforcement(temporary=9, digest=b"d" * 32)) == joint


def test_where_a_backend_enforces_a_policy_only_the_joint_key_opens() -> None:
    """Not the one of our own policy, nor the temporary one."""
    policies, entry = Policies(SITE, Shelf(enforced=HELD)), record()
    joint = policies.keys(claim(), entry, HELD)
    assert policies.need(claim(joint.final), entry) is None
    assert policies.need(claim(), entry) is Need.POLICY_KEY_MISSING
    assert policies.need(claim(joint.temporary), entry) is Need.POLICY_KEY_MISSING
    assert policies.need(claim(final(SITE, entry)), entry) is Need.POLICY_KEY_WRONG
    assert policies.need(claim(command="Ping"), entry) is None


@pytest.mark.parametrize("held", [Enforcement(temporary=9, digest=b"d" * 32), Enforcement()])
def test_until_the_backend_has_given_its_own_key_none_opens_anything(held: Enforcement) -> None:
    """Nor may a Ping go without one; but whoever the site lets pass without a key is the backend's to judge."""
    entry, lenient = record(), SitePolicy(SITES, SECRET, lenient=True)
    for site in (SITE, lenient):
        policies = Policies(site, Shelf(enforced=held))
        key = policies.keys(claim(), entry, held).final
        assert policies.need(claim(key), entry) is Need.POLICY_KEY_MISSING
        assert policies.need(claim(key, command="Provision"), entry) is Need.PROVISION_ASKED
        assert policies.need(claim(command="OPTIONS"), entry) is None
        assert policies.right_key(claim(), entry) == key
    for command in ("Sync", "Ping"):
        assert Policies(SITE, Shelf(enforced=held)).need(claim(command=command), entry) is Need.POLICY_KEY_MISSING
        assert Policies(lenient, Shelf(enforced=held)).need(claim(command=command), entry) is None


def test_a_changed_policy_is_told_from_a_wrong_key_where_a_backend_enforces_one_too() -> None:
    """The key of the policy before is one over both, as the device got it."""
    before, now = record(OLD), record(UEMS, digest(OLD))
    policies = Policies(SITE, Shelf(UEMS, enforced=HELD))
    assert policies.need(claim(policies.keys(claim(), before, HELD).final), now) is Need.POLICY_CHANGED
    assert policies.need(claim(final(SITE, before)), now) is Need.POLICY_KEY_WRONG


def test_before_a_device_is_told_to_provision_what_is_kept_is_read_anew() -> None:
    """Another worker may just have provisioned it."""
    entry = record()
    for old in (None, Enforcement(temporary=9, digest=b"d" * 32)):
        policies = Policies(SITE, Shelf(enforced=old, anew=HELD))
        assert policies.need(claim(policies.keys(claim(), entry, HELD).final), entry) is None


def test_what_cannot_be_read_of_a_backends_policy_cannot_be_judged() -> None:
    """The device waits; one that must apply no policy of ours does not."""
    unread = Shelf(UEMS, enforced=Unreadable.LIST)
    assert Policies(SITE, unread).need(claim(final(SITE, record())), record()) is Unreadable.LIST
    assert Policies(SitePolicy(secret=SECRET), unread).need(claim(5), record()) is None
    assert Policies(SITE, unread).right_key(claim(), record()) is None


def test_a_gateway_without_the_secret_lets_nobody_pass_whom_the_uem_wants_a_policy_on() -> None:
    """However the device asks; one without a policy is the backend's business."""
    policies = Policies(SitePolicy(), Shelf(UEMS))
    for key in (None, 0, 1, final(SITE, record(UEMS))):
        assert policies.need(claim(key), record(UEMS)) is not None
        assert policies.need(claim(key), record()) is None


def test_a_device_has_one_key_under_the_forms_of_its_id() -> None:
    """By the reading of a base64 id that is the plain form's."""
    policies = Policies(SITE, Shelf())
    packed = Claim(DeviceKey("50484F4E4531", "anna"), ("PHONE1",), "iPhone", "anna", "Sync", "14.1", None)
    entry = Record(key=DeviceKey("50484F4E4531", "anna"), state=State.ALLOWED, version=1)
    assert policies.keys(packed, entry) == policies.keys(claim(), record())
    assert policies.keys(claim(None, "ANOTHER"), record()) != policies.keys(claim(), record())


texts = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=20)


@given(texts, texts, st.binary(min_size=32, max_size=64), st.booleans())
def test_two_gateways_with_one_secret_agree_and_others_do_not(
    device_id: str,
    principal: str,
    secret: bytes,
    uems: bool,  # noqa: FBT001 - drawn
) -> None:
    """For every device and principal; what was computed before plays no part."""
    key = DeviceKey(device_id, principal)
    entry = Record(key=key, state=State.ALLOWED, version=1, policy=digest(UEMS) if uems else b"")
    asked = Claim(key, (), "", principal, "Sync", "14.1", None)
    one, two = Policies(SitePolicy(SITES, secret), Shelf()), Policies(SitePolicy(SITES, secret), Shelf())
    assert one.keys(asked, entry) == one.keys(asked, entry) == two.keys(asked, entry)
    assert Policies(SitePolicy(SITES, secret + b"x"), Shelf()).keys(asked, entry) != one.keys(asked, entry)


def test_the_secret_is_not_shown() -> None:
    """Whoever logs the object."""
    assert "ssss" not in repr(SITE)


def test_no_policy_needs_no_secret() -> None:
    """As before."""
    assert load(GATEWAY) == SitePolicy()


def settings(path: Path, policy: Policy | None = SITES) -> Gateway:
    """The gateway's, with the secret in this file."""
    return Gateway(
        listeners=(), tls=GATEWAY.tls, backends=(), policy=policy, fleet_secret=str(path), non_provisionable="allow"
    )


@pytest.mark.parametrize(("size", "taken"), [(31, False), (32, True), (4_096, True), (4_097, False)])
def test_the_secret_has_a_sensible_size(tmp_path: Path, size: int, taken: bool) -> None:  # noqa: FBT001 - a table
    """Neither too few bytes nor another file."""
    path = tmp_path / "fleet.key"
    path.write_bytes(b"s" * size)
    if taken:
        assert load(settings(path)) == SitePolicy(SITES, b"s" * size, lenient=True)
    else:
        with pytest.raises(SettingsError, match=f"{size if size < 4_096 else 4_097} bytes; 32 to 4096"):
            load(settings(path))


def test_a_policy_without_a_secret_is_refused() -> None:
    """By the name of what is missing."""
    with pytest.raises(SettingsError, match=r"gateway\.fleet_secret"):
        load(Gateway(listeners=(), tls=GATEWAY.tls, backends=(), policy=SITES))


def test_new_settings_remember_the_policy_they_replace(tmp_path: Path) -> None:
    """Also over settings that change something else; a policy that goes is remembered too."""
    path = tmp_path / "fleet.key"
    path.write_bytes(SECRET)
    first = load(settings(path, OLD))
    second = load(settings(path), first)
    third = load(settings(path), second)
    fourth = load(settings(path, None), third)
    assert [site.before for site in (first, second, third, fourth)] == [b"", digest(OLD), digest(OLD), digest(SITES)]
    assert [one.same_keys(other) for one, other in ((first, second), (second, third))] == [False, True]
    assert not second.same_keys(SitePolicy(SITES, b"t" * 32))
