"""The directory of the lab: an account for the appliance, and three people, each in the group of one role."""

from pathlib import Path

from images.lab import ldif
from images.lab.slapd import Contents

SUFFIX = "dc=lab,dc=test"
PEOPLE, GROUPS, SERVICES = (f"ou={name},{SUFFIX}" for name in ("people", "groups", "services"))
ACCOUNT = f"cn=gateway,{SERVICES}"
MEMBERS = {"administrators": "dora", "operators": "oscar", "auditors": "vera"}
"""The groups, and who is in each."""
ACCOUNT_FILE, PERSON_FILE = "directory.account", "directory.person"
"""The files of passwords among the lab's secrets: of the appliance's own account, and the one that all people have."""
# As the appliance's own accounts have it (V-250986): three failures lock for 15 minutes.
_LOCKS = "pwdLockout: TRUE\npwdMaxFailure: 3\npwdLockoutDuration: 900\n"


def contents(secrets: Path) -> Contents:
    """The directory with the passwords that lie in this folder."""
    account, password = ((secrets / name).read_text(encoding="utf-8").strip() for name in (ACCOUNT_FILE, PERSON_FILE))
    entries = (
        f"dn: {SUFFIX}\nobjectClass: domain\ndc: lab\n\n",
        *(ldif.unit(name, SUFFIX) for name in ("people", "groups", "services")),
        ldif.policy(ldif.POLICY, SUFFIX, _LOCKS),
        ldif.person("gateway", SERVICES, account),
        *(ldif.person(name, PEOPLE, password) for name in MEMBERS.values()),
        *(ldif.group(f"cn={name},{GROUPS}", f"cn={who},{PEOPLE}") for name, who in MEMBERS.items()),
    )
    return Contents(SUFFIX, GROUPS, ACCOUNT, "".join(entries))
