"""What the site says of devices beside the UEM: its own rules, observing, throttling and the notice. A part of `gateway`.

The data plane compares rules in `sentry_runtime.gateway.site`; what is taken here it takes, too.
"""

import datetime
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from appliance.features import values
from appliance.features.base import Problem, System, Tree
from sentry_runtime.settings import Observe, Rule, Throttle

RULES = 1_000  # as many as the data plane takes
ORDERS = 65_535
OBSERVE_DAYS = 30  # as long as a site may look before it enforces
NOTICE_CHARACTERS = 400
NOTE_CHARACTERS = 200
USER_BYTES = 320  # RFC 3696: 64 of local part, "@", 255 of domain
DEFAULT = Throttle()

RULE_NAME = "up to 32 of a-z, 0-9, - and _, beginning with a letter or digit"
USER = r"`user`, `user@domain` or `DOMAIN\user`, without blanks"
DEVICE = "1 to 64 printable ASCII characters without blanks and +, and one * behind them for whatever begins so"
DEVICE_TYPE = "1 to 64 printable characters, and one * behind them for whatever begins so"
NETWORK = f"{values.NETWORK}, but not everywhere"

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_DEVICE = re.compile(r"[!-),-~]{1,64}\*?")
_DEVICE_TYPE = re.compile(r"[^*]{1,64}\*?")


def _is_user(text: str) -> bool:
    """Whether the data plane can make one name of it (`sentry_runtime.eas.principal`); a test holds the two together."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).strip(" ")
    domain, backslash, user = folded.rpartition("\\")
    name = f"{user}@{domain}" if backslash and "@" not in user and domain not in ("", ".") else user
    local, at, host = name.partition("@")
    whole = bool(local) and bool(at) == bool(host) and "@" not in host and "\\" not in name
    return whole and name.isprintable() and " " not in name and len(name.encode()) <= USER_BYTES


def _is_device_type(text: str) -> bool:
    return _DEVICE_TYPE.fullmatch(text) is not None and text.isprintable()


def _is_somewhere(text: str) -> bool:
    network = values.network_of(text)
    return network is not None and network.prefixlen > 0


def verify(tree: Tree) -> Iterable[Problem]:
    """Each rule means somebody, and no two stand in one place."""
    rules = tree["gateway"]["rules"]
    places: dict[int, str] = {}
    for name, rule in sorted(rules.items()):
        path = f"gateway.rules.{name}"
        if not any(rule.get(field) for field in ("user", "device", "device_type", "network")):
            yield Problem(path, "none of user, device, device_type and network", "at least one of them")
        if rule["order"] in places:
            yield Problem(
                f"{path}.order", f"{rule['order']}, which {places[rule['order']]} has too", "a number of its own"
            )
        places[rule["order"]] = name


def on_machine(tree: Tree, system: System) -> Iterable[Problem]:
    """Observing has an end that is near, by the machine's clock. One that has passed is no mistake: it is off."""
    until = tree["gateway"]["observe"].get("until")
    if until is None:
        return
    now = datetime.datetime.fromtimestamp(int(system.run(["date", "-u", "+%s"])), datetime.UTC)
    latest = now + datetime.timedelta(days=OBSERVE_DAYS)
    if values.minute_of(until) > latest:
        allowed = f"at most {OBSERVE_DAYS} days ahead, up to {latest:%Y-%m-%dT%H:%MZ}"
        yield Problem("gateway.observe.until", until, allowed)


def rules(tree: Tree) -> tuple[Rule, ...]:
    """The rules as the data plane's settings name them, in their order."""
    held = tree["gateway"]["rules"]
    fields = ("action", "user", "device", "device_type", "network", "expires", "note")
    return tuple(
        Rule(name=name, **{field: held[name][field] for field in fields if field in held[name]})
        for name in sorted(held, key=lambda name: held[name]["order"])
    )


def observe(tree: Tree) -> Observe | None:
    """Until when blocks are only written down."""
    until = tree["gateway"]["observe"].get("until")
    return None if until is None else Observe(until=until)


def throttle(tree: Tree) -> Throttle | None:
    """How much a device may ask."""
    held = dict(tree["gateway"]["throttle"])
    return Throttle(**held) if held.pop("enabled") else None


RULE = values.group(
    "Rule",
    "One rule: whom it means (all that is given must match) and what becomes of the request.",
    order=values.described(
        {"type": "integer", "min": 1, "max": ORDERS},
        "Order",
        "Rules are looked at from the lowest number up; the first that matches decides. Leave gaps.",
        required=True,
    ),
    action=values.described(
        {"type": "string", "allowed": ["allow", "deny"]},
        "Action",
        "deny: refused, whatever the UEM says. allow: passes although it is not registered or breaches a policy; it does not "
        "stand above an administrator's block or a wipe.",
        required=True,
    ),
    user=values.described(
        values.text_kind(_is_user, USER),
        "User",
        "Who authenticates, in any form of the name. A denial also means every name that may be the same person's.",
    ),
    device=values.described(
        values.text_kind(_DEVICE.fullmatch, DEVICE),
        "Device",
        "The device id, as `show sentry devices` prints it. A denial also means its other spelling (text and hex).",
    ),
    device_type=values.described(
        values.text_kind(_is_device_type, DEVICE_TYPE),
        "Device type",
        "As the device says it, such as iPhone or Android*, in any case.",
    ),
    network=values.described(
        values.text_kind(_is_somewhere, NETWORK),
        "Network",
        "From where the device comes; behind a listed balancer, as that tells it.",
    ),
    expires=values.described(
        values.MINUTE_KIND, "Expires", "From this minute on the rule has no effect. Without it: never."
    ),
    note=values.line("Note", "Why, for people.", characters=NOTE_CHARACTERS, default=""),
)

FIELDS: dict[str, dict[str, Any]] = {
    "rules": values.named(
        {
            "type": "string",
            "check_with": values.check(_NAME.fullmatch, RULE_NAME),
            "meta": {"allowed": RULE_NAME},
        },
        RULE,
        "Rules",
        "The site's own rules on devices, beside what the UEM says.",
        most=RULES,
        default={},
    ),
    "observe": {
        **values.group(
            "Observe",
            "Blocks for posture and registration are written down and not enforced. Every scan shows it as a finding.",
            until=values.described(
                values.MINUTE_KIND,
                "Observe until",
                f"Then it is off by itself; at most {OBSERVE_DAYS} days ahead. Without it: off.",
            ),
        ),
        "default": {},
    },
    "throttle": {
        **values.group(
            "Throttle",
            "How much one device of one user may ask of one worker. Only what a backend has served counts.",
            enabled=values.switch("Throttle devices", "Off: a device may ask as much as it likes.", default=True),
            requests_per_second=values.number(
                "Requests a second", "In the long run.", low=1, high=100, default=int(DEFAULT.requests_per_second)
            ),
            burst=values.number("Burst", "So many at once.", low=20, high=10_000, default=DEFAULT.burst),
            repeats=values.number(
                "Repetitions",
                "So many equal requests with equal answers in a row are a loop.",
                low=10,
                high=1_000,
                default=DEFAULT.repeats,
            ),
            pause_seconds=values.number(
                "Pause (seconds)",
                "How long a device is refused then (503, Retry-After).",
                low=5,
                high=3_600,
                default=int(DEFAULT.pause_seconds),
            ),
        ),
        "default": {},
    },
    "block_notice": values.line(
        "Block notice",
        "What a device that is refused is told, with the reasons behind it, where its protocol has a place for words. Who knows "
        "a device id and a user name then learns the reasons. Without it: neither is told.",
        characters=NOTICE_CHARACTERS,
        default="",
    ),
}
"""The fields of `gateway` that are set here."""
