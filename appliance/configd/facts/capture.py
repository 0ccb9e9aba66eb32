"""The topic of the capture of packets: whether one runs, what it takes, and what the last one said."""

from appliance.capture.request import PLACE, SECONDS_HIGH, UNIT, read, told
from appliance.configd.api import Facts
from appliance.configd.facts.context import Context, Topic

WORDS_LINES = 3


def capture(context: Context, _argument: str) -> Facts:
    """The running one; or that there is none, with the last lines of the last."""
    request = read(context.system.read(PLACE))
    if request is not None:
        facts = (("running", told(request)), ("began", request.began), ("by", request.user))
        return Facts(title="capture", facts=facts)
    said = context.attempt(
        ["journalctl", "--no-pager", "-q", "-o", "cat", "-n", str(WORDS_LINES), f"_SYSTEMD_UNIT={UNIT}"]
    )
    last = " / ".join(said.output.split("\n")).strip(" /") or "nothing yet"
    return Facts(
        title="capture", facts=(("running", "no"), ("longest", f"{SECONDS_HIGH} s"), ("the last one said", last))
    )


TOPICS = {"capture": Topic("the capture of packets", capture)}
