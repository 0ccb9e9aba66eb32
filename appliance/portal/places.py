"""Where in the portal an administrator finds what a command does (`appliance.parity`): a page, or why there is none."""

from collections.abc import Iterable
from typing import Final

from appliance.portal.fact_pages import TITLES

SHELL: Final = "of the command line alone: the portal has no modes, and its log-in and log-out are its own"
PAGES: Final[dict[str, str]] = {
    "show log": "/logs",
    "show timeout": "/facts",
    "show running-config": "/settings",
    "show startup-config": "/revisions",
    "show revisions": "/revisions",
    "show sentry device": "/devices/one",
    "show sentry explain": "/devices/one",
    "device": "/devices/one",
    "clear sentry redirects": "/devices/one",
    "persist sentry devices": "/tools",
    "clear revocation": "/tools",
    "debug sentry check-in": "/tools",
    "uem enrol": "/tools",
    "uem renew": "/tools",
    "ping": "/tools",
    "traceroute": "/tools",
    "host": "/tools",
    "clear arp-cache": "/tools",
    "reload": "/power",
    "show software": "/software",
    "software": "/software",
    "poweroff": "/power",
    "setup": "/settings",
    "service": "/services",
    "write": "/changes",
    "rollback": "/revisions",
    "certificate": "/certificates",
    "enable secret": "/people",
    "stig scan": "/stig",
    "show stig": "/stig",
    "username": "/people",
    "password": "/people",
    "support": "/support",
    "debug capture": "/support",
    "download": "/support",
    "token": "/tokens",
    "show tokens": "/tokens",
    "backup send": "/backups",
}
"""The page of a command, by its first words; the longest that fits counts."""
NONE: Final[dict[str, str]] = {
    "enable": SHELL,
    "disable": SHELL,
    "end": SHELL,
    "configure terminal": SHELL,
    "exit": SHELL,
    "logout": SHELL,
    "help": SHELL,
    "timeout": SHELL,
    "do": SHELL,
    "backup": "a backup holds every secret and key: it is made and restored at the command line, or over REST by a token for it",
    "facts": "one fact is what the command line prints; the pages `/facts` and `/stig` have what they come to",
    "clock set": "the clock is the time servers'; by hand it is set at the command line",
}
"""Commands without a page, and why."""


def page_of(command: str, topic: str = "") -> str:
    """The page on which `command` is; empty where there is none. `topic` is what it shows, if it shows one."""
    if topic in TITLES:
        return f"/facts?topic={topic}"
    if command in NONE:
        return ""
    fits = [words for words in PAGES if command == words or command.startswith(f"{words} ")]
    return PAGES[max(fits, key=len)] if fits else ""


def cell(settings: Iterable[str], commands: Iterable[tuple[str, str]], reason: str) -> str:
    """What the parity table says of the portal: the pages of settings, and those of commands with the topics that they show; or,
    where there is none, why."""
    listed = tuple(commands)
    found = [f"`/settings/{each.partition('.')[0]}`" for each in settings]
    found += [f"`{page}`" for command, topic in listed if (page := page_of(command, topic))]
    if found:
        return ", ".join(dict.fromkeys(found))
    return next((why for command, _topic in listed for words, why in NONE.items() if command.startswith(words)), reason)
