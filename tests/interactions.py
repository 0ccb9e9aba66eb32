"""The numbered steps of the documents this product was commissioned by, as far as they concern ActiveSync, in our own words.

A test that shows a step cites it: `@pytest.mark.shows("core 3")`. A citation of no step, and a step that no test cites, are
errors (`tests/unit/test_interactions.py`). `docs/interactions.md` is made from this table.

- stig: STIG overview of the product, 3.1.1 "Device first attempt to access the ActiveSync server"
- core: guide "Core, Standalone Sentry, and device interaction"
- cloud: guide "Cloud, Standalone Sentry, and device interaction"

What the guides say of AppTunnels in use and of other resources than ActiveSync is left out.
"""

STEPS: dict[str, str] = {
    "stig 1": "A device attempts to reach the ActiveSync server.",
    "stig 2": "The gateway adds the device to its list of devices.",
    "stig 3": "The gateway tells the UEM about the device.",
    "stig 4": "The UEM's view of ActiveSync devices has the device from then on.",
    "stig 5a": "The UEM tells the gateway whether it may pass: by the device's security policy,",
    "stig 5b": "... by whether the mailbox has too many devices,",
    "stig 5c": "... by whether unregistered devices are blocked.",
    "stig 6": "The gateway tells the device whether it may pass, with an ActiveSync policy if it may.",
    "stig 7": "If it may: the device applies the policy and goes on with its mail.",
    "stig 8": "If it may not: the gateway tells the device so.",
    "stig again": "At its next attempt the device is on the list, which has what the UEM has said.",
    "core 1": "A device attempts to reach the ActiveSync server.",
    "core 2": "The gateway adds the device to its list of devices.",
    "core 3": "The gateway tells the UEM about the device.",
    "core 4": "The UEM's view of ActiveSync devices has the device from then on.",
    "core 5a": "The UEM tells the gateway whether it may pass: by the device's security policy,",
    "core 5b": "... by whether the mailbox has too many devices,",
    "core 5c": "... by whether unregistered devices are blocked.",
    "core 6": "The gateway tells the device whether it may pass, with an ActiveSync policy if it may.",
    "core 7": "If it may: the device applies the policy and goes on with its mail.",
    "core 7 not": "If it may not: the gateway tells the device so.",
    "core again": "At its next attempt the device is on the list: the UEM is not asked.",
    "core away 1": "The UEM cannot be reached at a first attempt: the gateway lets the device pass.",
    "core away 2": "It gets a temporary policy that is not the administrator's default one.",
    "core away 3": "The next resync brings the device's proper state and policy, and the gateway gives the policy to the device.",
    "core away 3 state": "... its proper state may be allowed, blocked or wiped.",
    "core breach": "The UEM sees a breach of the security policy and tells the gateway to block the device.",
    "core policy": "A changed policy goes to the gateway for each affected device, and on to the device.",
    "core start 1": "At its start the gateway gets all registered devices that may pass.",
    "core start 2": "It puts them into its list, each with its policy; so most devices need no question to the UEM.",
    "core start 2b": "A device that is not on the list is treated as at its first attempt.",
    "core start 3": "It gets the devices' app tunnels, those of as many devices as its cache is large.",
    "core resync state": "A periodic resync repairs what got lost between UEM and gateway: that a device is blocked or allowed,",
    "core resync wipe": "... that it is to be wiped,",
    "core resync policy": "... a new or changed policy, which goes on to the device;",
    "core resync device": "... and what a device missed that was turned off: it gets its policy when it comes back.",
    "cloud 1": "A device attempts to reach the ActiveSync server.",
    "cloud 2": "The gateway asks the UEM which registered devices, or unregistered ones of other gateways, this might be.",
    "cloud 3": "It picks the best match itself, by ActiveSync id, then user id, and checks whether that is in compliance.",
    "cloud 4": "The gateway adds the device to its list of devices.",
    "cloud 5": "If it may pass, it goes on with its mail.",
    "cloud 5 not": "If it may not, none of its mail passes the gateway.",
    "cloud 6": "With its next check-in the gateway tells the UEM of its list, the new device among it.",
    "cloud again": "At its next attempt the device is on the list; its compliance is kept up to date.",
    "cloud away 1": "The UEM cannot be reached at a first attempt: the site's setting lets the device pass or blocks it.",
    "cloud breach": "The UEM sees a breach; with the next periodic word from it the gateway blocks the device.",
    "cloud periodic": "Periodically the gateway gets the devices' state, and what administrators have done since.",
    "cloud start": "At its start the gateway has what the UEM knows before a device comes.",
    "cloud start 2": "It gets the devices' app tunnels, those of as many devices as its cache is large.",
    "cloud schedules": "Compliance, administrators' actions and the inventory have check-ins and schedules of their own.",
}


def page(citations: dict[str, set[str]]) -> str:
    """docs/interactions.md, by the tests that cite each step (`MODULE::NAME`)."""
    rows = [f"| {step} | {text} | {'<br>'.join(sorted(citations.get(step, ())))} |" for step, text in STEPS.items()]
    first, _, *guides = (__doc__ or "").split("\n\n")
    return "\n".join(
        (
            "# Interactions",
            "",
            "Made by `python -m tests.interactions > docs/interactions.md`; do not edit.",
            "",
            *first.splitlines(),
            "",
            *"\n\n".join(guides).splitlines(),
            "",
            "| step | what happens | shown by |",
            "|---|---|---|",
            *rows,
            "",
        )
    )


if __name__ == "__main__":
    from tests.unit.test_interactions import citations

    print(page(citations()), end="")  # noqa: T201 - a command-line tool
