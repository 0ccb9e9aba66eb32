"""The commands about tokens of the REST API: give one out, list them, take one back."""

from collections.abc import Mapping
from typing import Any

from appliance.cli import output
from appliance.cli.command import Command, Mode
from appliance.cli.output import Output
from appliance.cli.shell import Shell
from appliance.configd import api

Values = Mapping[str, str]

ONCE = "This is the token; it is not shown again:"
PRIVILEGED = frozenset({Mode.PRIVILEGED})
ROLES = "administrator|operator|auditor"


def create(shell: Shell, values: Values) -> Output:
    """Give a token out, and print it, once."""
    fields: dict[str, Any] = {"name": values["token"], "role": values["role"]}
    for name in ("scopes", "networks"):
        if name in values:
            fields[name] = tuple(part.strip() for part in values[name].split(",") if part.strip())
    if "days" in values:
        fields["days"] = int(values["days"])
    made = shell.call(api.CreateToken, api.NewToken, **fields)
    facts = made.facts
    lines = (
        f"token     {facts.name}, {facts.role}: {', '.join(facts.scopes)}",
        f"from      {', '.join(facts.networks) or 'everywhere'}",
        f"until     {facts.expires}",
        ONCE,
        made.token,
    )
    return Output(lines, {"token": made.token, **_data(facts)})


def show(shell: Shell, _values: Values) -> Output:
    """The tokens there are."""
    listed = shell.call(api.ListTokens, tuple[api.TokenFacts, ...])
    columns = ("token", "role", "scopes", "from", "made by", "until", "last use", "last from")
    rows = [
        (
            each.name,
            each.role,
            ",".join(each.scopes),
            ",".join(each.networks) or "everywhere",
            each.made_by,
            each.expires,
            each.last_use or "never",
            each.last_source,
        )
        for each in listed
    ]
    return output.table(columns, rows, title="tokens")


def revoke(shell: Shell, values: Values) -> None:
    """Take a token back."""
    shell.call(api.RevokeToken, type(None), name=values["token"])


def _data(facts: api.TokenFacts) -> dict[str, Any]:
    return {name: getattr(facts, name) for name in facts.__struct_fields__}


def _creating() -> tuple[Command, ...]:
    """Each order in which what is not said has its usual value."""
    first = f"token create <token> <role:{ROLES}>"
    parts = (("", "scopes <scopes>"), ("", "days <days>"), ("", "from <networks>"))
    tails = [
        " ".join(filter(None, (scopes, days, networks)))
        for scopes in parts[0]
        for days in parts[1]
        for networks in parts[2]
    ]
    return tuple(
        Command(
            f"{first} {tail}".strip(),
            "The same, so bounded" if tail else "Give out a token for the REST API",
            create,
            PRIVILEGED,
        )
        for tail in tails
    )


COMMANDS: tuple[Command, ...] = (
    *_creating(),
    Command("token revoke <token>", "Take a token back; it is good for nothing at once", revoke, PRIVILEGED),
    Command("show tokens", "The tokens of the REST API, and when each was last used", show, PRIVILEGED),
)

WORDS = {
    "token": "Tokens of the REST API",
    "token create": "Give one out; it is shown once",
    "token create <token>": "What its role may do, in the scopes that are usual for it",
}
