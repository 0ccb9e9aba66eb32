"""The topics of `show`: each a function of the machine and the configuration, run as root with fixed commands only."""

from appliance.configd.api import Shown
from appliance.configd.errors import refused
from appliance.configd.facts import (
    alerts,
    backups,
    bundle,
    capture,
    certificate_login,
    certificates,
    crypto,
    directory,
    downloads,
    host,
    machine,
    management,
    network,
    overview,
    searching,
    sentry,
    settings,
    stig,
    telemetry,
    tls,
    watchdog,
)
from appliance.configd.facts.context import Context, Topic

ARGUMENT_CHARACTERS = 64

TOPICS: dict[str, Topic] = {
    **host.TOPICS,
    **network.TOPICS,
    **crypto.TOPICS,
    **certificates.TOPICS,
    **certificate_login.TOPICS,
    **directory.TOPICS,
    **tls.TOPICS,
    **management.TOPICS,
    **sentry.TOPICS,
    **searching.TOPICS,
    **telemetry.TOPICS,
    **alerts.TOPICS,
    **backups.TOPICS,
    **stig.TOPICS,
    **downloads.TOPICS,
    **watchdog.TOPICS,
    **capture.TOPICS,
}
"""Every topic by its name."""
TOPICS |= {**settings.TOPICS, **machine.TOPICS, **overview.TOPICS}
TOPICS["tech"] = bundle.topic(TOPICS)


def show(topic: str, argument: str, context: Context) -> Shown:
    """What is to be said on `topic`. Raises an `invalid` refusal for an unknown one, `CommandError` or `ControlError` when
    the system does not answer."""
    found = TOPICS.get(topic)
    if found is None:
        raise refused(
            "invalid", f"found the topic {topic[:ARGUMENT_CHARACTERS]!r}; allowed: {', '.join(sorted(TOPICS))}"
        )
    if argument and not found.argument:
        raise refused("invalid", f"found {argument[:ARGUMENT_CHARACTERS]!r} after {topic}; allowed: nothing")
    if len(argument) > ARGUMENT_CHARACTERS or not argument.isprintable():
        raise refused("invalid", f"an argument is at most {ARGUMENT_CHARACTERS} printable characters")
    return found.answer(context, argument)


__all__ = ["TOPICS", "Context", "Topic", "show"]
