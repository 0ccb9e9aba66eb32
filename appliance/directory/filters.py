"""What is asked of a directory, in its own words (pure): a name that somebody typed is never more than a value in them.

The library escapes (RFC 4515 3, RFC 4514 2.4); the attributes and the base come from the configuration.
"""

from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import escape_rdn

from appliance.directory.settings import Settings

IN_CHAIN = "1.2.840.113556.1.4.1941"  # LDAP_MATCHING_RULE_TRANSITIVE_EVAL (MS-ADTS 3.1.1.3.4.4.3)
EVERY_ENTRY = "(objectClass=*)"


def person(settings: Settings, user: str) -> str:
    """The filter that finds the entry of `user`."""
    return f"({settings.user_attribute}={escape_filter_chars(user)})"


def place(settings: Settings, user: str) -> str:
    """The entry's name where people bind as themselves: right below the base."""
    return f"{settings.user_attribute}={escape_rdn(user)},{settings.base}"


def member(settings: Settings, entry: str) -> str:
    """The filter that a group passes which has `entry` (a distinguished name) among its members."""
    rule = f"member:{IN_CHAIN}:" if settings.membership == "nested" else settings.membership
    return f"({rule}={escape_filter_chars(entry)})"
