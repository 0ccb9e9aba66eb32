"""One canonical name for one person, whatever form the client uses (`user`, `DOMAIN\\user`, `user@domain`)."""

import unicodedata

PRINCIPAL_BYTES = 320  # as in the device list


class PrincipalError(ValueError):
    """The name cannot be a user's; the message is one word for the audit line."""


def canonical(name: str) -> str:
    """`user` or `user@domain`, normalised (NFC) and case-folded; `CORP\\user` is `user@corp`.

    A domain before a user principal name says nothing new (`CORP\\user@corp.example` is `user@corp.example`). Raises
    `PrincipalError`.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip(" ")
    domain, backslash, user = folded.rpartition("\\")
    if backslash and "@" not in user:
        folded = f"{user}@{domain}" if domain not in ("", ".") else user
    elif backslash:
        folded = user
    local, _, domain = folded.partition("@")
    if not local or "\\" in folded or "@" in domain or not folded.isprintable() or " " in folded:
        raise PrincipalError("principal_malformed")
    if folded.endswith("@") or len(folded.encode()) > PRINCIPAL_BYTES:
        raise PrincipalError("principal_malformed")
    return folded


def same_person(one: str, other: str) -> bool:
    """Whether two canonical names may be one person: equal users, and domains that do not contradict each other.

    A missing domain contradicts none, and a NetBIOS domain (`corp`) not the DNS domain that begins with it.
    """
    user, _, domain = one.partition("@")
    other_user, _, other_domain = other.partition("@")
    if user != other_user:
        return False
    if not domain or not other_domain or domain == other_domain:
        return True
    short, long = sorted((domain, other_domain), key=len)
    return "." not in short and long.partition(".")[0] == short
