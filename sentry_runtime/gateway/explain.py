"""Why a device is let through or refused: the answer to an `Explain`, from the same case and the same table as a request's.

It is given by the supervisor, which sees the settings and the device list as the workers do. Of throttling, which each worker
counts for itself, it knows what the workers told with their last sign of life, a second ago at most. It does not see what
comes before a verdict (framing, credentials, a `User=` of somebody else) nor what a backend would say.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from sentry_runtime import control
from sentry_runtime.control_server import Refused
from sentry_runtime.devices.enforcement import Enforcement
from sentry_runtime.devices.record import DeviceKey, Record, Wipe
from sentry_runtime.devices.store import Reader, StoreError
from sentry_runtime.eas import device_id, principal, query
from sentry_runtime.gateway import decide, enforce, wipe
from sentry_runtime.gateway.decide import Action, Excess, Row, Unreadable, Verdict
from sentry_runtime.gateway.identify import Claim, device_of
from sentry_runtime.gateway.judge import Found, Judge
from sentry_runtime.gateway.known import Known
from sentry_runtime.gateway.policies import Policies
from sentry_runtime.gateway.site import address_of
from sentry_runtime.gateway.worker_channel import THROTTLED_TOLD, Life

COMMANDS = frozenset(query.COMMANDS.values()) | {"OPTIONS"}
PROTOCOLS = frozenset(query.VERSIONS.values()) | {""}

OpenList = Callable[[], Reader]


def explanation(
    asked: control.Explain, judge: Judge, open_list: OpenList, lives: Iterable[Life], notice: str = ""
) -> control.Explanation:
    """What would become of such a request now. Raises `Refused` (`invalid`) for what no request can say."""
    lives = tuple(lives)
    claim = _claim(asked, judge.site.names)
    excess, told = _throttling(claim, lives)
    known = Known(open_list)
    try:
        judge = Judge(judge.policies.read_from(known), judge.site)
        found = known.get(asked_key(claim))
        claim, notes = _completed(claim, asked, found, judge.policies)
        if judge.policies.digest_of(found):
            notes += _enforced(known.enforcement(asked_key(claim)))
        case = judge.case(claim, asked.source, found, excess)
    finally:
        known.close()
    if not asked.source and judge.site.in_force:
        notes.append("no source was given: rules on networks do not match")
    steps = decide.explain(case)
    verdict = steps[-1].verdict
    if verdict is None:
        raise AssertionError("the table's last row always applies")
    if verdict.row is Row.WIPE_TOO_OLD:
        notes.append(f"explained for version {claim.protocol or 'none'}: from 16.1 on a device gets the order")
    return control.Explanation(
        device_id=asked_key(claim).device_id,
        principal=claim.principal,
        action=verdict.action,
        reasons=tuple(verdict.reasons),
        softened=verdict.softened,
        decided_by=verdict.row or "",
        rule=verdict.rule,
        answer=_answer(claim, verdict, notice),
        steps=tuple(
            control.ExplainedStep(row=step.row, asks=step.asks, saw=step.saw, applies=step.verdict is not None)
            for step in steps
        ),
        notes=(*notes, *told, *_kin(open_list, claim, found)),
    )


def asked_key(claim: Claim) -> DeviceKey:
    """The key of a claim that names a device."""
    if claim.key is None:
        raise AssertionError("what is explained names a device")
    return claim.key


def _claim(asked: control.Explain, names: principal.Names) -> Claim:
    """The claim that such a request would make, its names in whatever form a person typed them."""
    if not device_id.is_text(asked.device_id):
        raise Refused("invalid", "a device id is 1 to 64 printable ASCII characters without blanks and +")
    try:
        who = names.canonical(asked.principal)
    except principal.PrincipalError:
        raise Refused("invalid", r"a user is `user`, `user@domain` or `DOMAIN\user`") from None
    if asked.command not in COMMANDS:
        raise Refused("invalid", f"found the command {asked.command[:32]!r}; allowed: {', '.join(sorted(COMMANDS))}")
    if asked.protocol not in PROTOCOLS:
        raise Refused(
            "invalid", f"found the version {asked.protocol[:8]!r}; allowed: {', '.join(query.VERSIONS.values())}"
        )
    if asked.source and address_of(asked.source) is None:
        raise Refused("invalid", f"found the source {asked.source[:64]!r}; allowed: an IPv4 or IPv6 address")
    canonical = asked.device_id.upper()
    key, aliases = DeviceKey(canonical, who), device_id.printable_reading(canonical)
    return Claim(key, aliases, asked.device_type, who, asked.command, asked.protocol, asked.policy_key)


def _completed(claim: Claim, asked: control.Explain, found: Found, policies: Policies) -> tuple[Claim, list[str]]:
    """The claim with what was not said of the device taken from its entry, and notes of that."""
    notes = []
    if not asked.device_type and isinstance(found, Record) and found.device_type:
        claim = replace(claim, device_type=found.device_type)
        notes.append(f"no device type was given: taken from the device list, {found.device_type}")
    if asked.policy_key is None and claim.command != "Provision" and policies.digest_of(found):
        claim = replace(claim, policy_key=policies.right_key(claim, found))
        notes.append("no policy key was given: the device is taken to have the right one")
    return claim, notes


def _enforced(held: Enforcement | Unreadable | None) -> list[str]:
    if not isinstance(held, Enforcement):
        return []
    given = "has given its final key" if held.final else "has yet to give its final key: until then no key opens"
    return [f"a backend enforces a policy of its own on this device, and {given}"]


def _throttling(claim: Claim, lives: tuple[Life, ...]) -> tuple[Excess | None, list[str]]:
    device = device_of(claim)
    paused = [one for life in lives for one in life.throttled if one.device == device]
    notes = []
    if any(len(life.throttled) >= THROTTLED_TOLD for life in lives):
        notes.append("a worker throttles more devices than it tells of: this one may be among them")
    if not paused:
        return None, notes
    longest = max(paused, key=lambda one: one.seconds)
    here = f"{len(paused)} of {len(lives)} workers throttle this device, the longest for {longest.seconds} s more"
    return longest.excess, [*notes, here]


def _kin(open_list: OpenList, claim: Claim, found: Found) -> Iterator[str]:
    """Other entries that a person may have meant."""
    if found is not None:
        return
    try:
        reader = open_list()
    except StoreError:
        return
    try:
        for record in reader.of_device(asked_key(claim).device_id):
            if principal.same_person(record.key.principal, claim.principal):
                yield f"the device list has this device for {record.key.principal}, which may be the same person"
    except StoreError:
        return
    finally:
        reader.close()


def _answer(claim: Claim, verdict: Verdict, notice: str) -> str:
    match verdict.action:
        case Action.ALLOW:
            return "it goes to a backend"
        case Action.ASK:
            return "first contact: a backend has to accept the credentials, then the UEM is asked"
        case Action.PROVISION:
            hands_out = claim.command == "Provision"
            return "the gateway hands out its policy" if hands_out else _http(enforce.unprovisioned(claim, verdict))
        case Action.WIPE:
            return _wipe_answer(claim, wipe.order(verdict), notice)
        case Action.BLOCK:
            return _http(enforce.blocked(claim, verdict, notice))
        case _:
            return _http(enforce.unavailable())


def _wipe_answer(claim: Claim, ordered: Wipe, notice: str) -> str:
    if claim.command == "Provision" and wipe.possible(claim, ordered):
        return "the gateway hands out the order to wipe"
    return _http(wipe.refused(claim, ordered, notice).answer)


def _http(answer: enforce.Answer) -> str:
    document = any(value == enforce.WBXML_TYPE for _, value in answer.headers)
    return f"HTTP {answer.status}" + (" with the status in the command's own document" if document else "")
