"""Entries of a directory as LDIF (RFC 2849)."""

POLICY = "policy"
"""The name of the entry right below the suffix that slapd's settings take for everybody's password policy."""


def unit(name: str, above: str) -> str:
    """What other entries lie below: `ou=NAME,ABOVE`."""
    return f"dn: ou={name},{above}\nobjectClass: organizationalUnit\nou: {name}\n\n"


def person(name: str, place: str, password: str, *, attribute: str = "cn", more: str = "") -> str:
    """Somebody who logs in by this name: `ATTRIBUTE=NAME,PLACE`. `more`: lines of further attributes."""
    called = f"cn: {name}\nsn: {name}\nuid: {name}"
    return f"dn: {attribute}={name},{place}\nobjectClass: inetOrgPerson\n{called}\nuserPassword: {password}\n{more}\n"


def group(dn: str, *members: str) -> str:
    """A group and the entries in it, of which there must be one."""
    lines = "".join(f"member: {one}\n" for one in members)
    return f"dn: {dn}\nobjectClass: groupOfNames\ncn: {dn.partition(',')[0][3:]}\n{lines}\n"


def policy(name: str, suffix: str, rules: str) -> str:
    """A password policy (draft-behera-ldap-password-policy-10, 5.2); `rules`: lines of its attributes."""
    kind = "objectClass: device\nobjectClass: pwdPolicy"
    return f"dn: cn={name},{suffix}\n{kind}\ncn: {name}\npwdAttribute: userPassword\n{rules}\n"
