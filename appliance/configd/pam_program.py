"""Asks PAM about one log-in: `user NUL source NUL password` on standard input, the service as argument; exit status 0 or
`REFUSED`.

configd starts this file itself, not the package, so it imports nothing but Debian's python3-pam.
"""

import sys
from typing import Any

REFUSED = 10


def login(service: str, user: str, source: str, password: str) -> bool:
    """Whether PAM's `service` authenticates `user`, who comes from `source`, and the account may log in now."""
    import PAM  # noqa: PLC0415 - only the appliance has it

    def converse(_auth: Any, questions: list[tuple[str, int]], _data: Any = None) -> list[tuple[str, int]]:
        asked = (PAM.PAM_PROMPT_ECHO_OFF, PAM.PAM_PROMPT_ECHO_ON)
        return [(password if kind in asked else "", 0) for _words, kind in questions]

    session = PAM.pam()
    session.start(service)
    session.set_item(PAM.PAM_USER, user)
    session.set_item(PAM.PAM_RHOST, source)
    session.set_item(PAM.PAM_CONV, converse)
    try:
        session.authenticate()
        session.acct_mgmt()
    except PAM.error:
        return False
    return True


if __name__ == "__main__":
    name, origin, secret = sys.stdin.read().split("\0", 2)
    sys.exit(0 if login(sys.argv[1], name, origin, secret) else REFUSED)
