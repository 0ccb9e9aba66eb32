"""The banner people see before they log in: SSH, console, portal."""

from collections.abc import Mapping

from appliance.features import values
from appliance.features.base import Feature, File, Tree
from appliance.features.template import filled

TEXT = "/etc/sentry/banner.txt"
SSH_TEXT = "/etc/issue.net"
DEFAULT = "I've read and consent to terms in IS user agreem't"  # the short form V-250987 names
CHARACTERS = 4_096  # three times the long form of the DoD banner (about 1,300)


def _printable(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n")) and bool(text.strip())


ALLOWED = f"text of 1 to {CHARACTERS} printable characters; line ends are welcome"


def render(tree: Tree) -> Mapping[str, File]:
    """The same text for all three; agetty would expand a backslash in /etc/issue (agetty(8)), so it is doubled there."""
    text = filled("banner.j2", text=tree["banner"]["text"])
    return {TEXT: File(text), SSH_TEXT: File(text), "/etc/issue": File(text.replace("\\", "\\\\"))}


FEATURE = Feature(
    name="banner",
    label="Log-in banner",
    default={},
    schema=values.group(
        "Log-in banner",
        "What everybody sees before logging in.",
        text=values.described(
            {
                "type": "string",
                "coerce": values.text_lines,
                "maxlength": CHARACTERS,
                "check_with": values.check(_printable, ALLOWED),
                "meta": {"allowed": ALLOWED},
            },
            "Text to display",
            "Shown by SSH and the console before the log-in and by the portal's log-in page (V-250987); may have several lines.",
            default=f"{DEFAULT}\n",
        ),
    ),
    render=render,
)
