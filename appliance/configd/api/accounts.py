"""Passwords, and the enable secret."""

from appliance.configd.api.words import Secret, SessionVerb, Word


class SetPassword(SessionVerb, frozen=True, kw_only=True, tag="user.password"):
    """Set an account's password (checked against the password policy) in the candidate. Result: None."""

    user: Word
    password: Secret


class SetOwnPassword(SessionVerb, frozen=True, kw_only=True, tag="user.own_password"):
    """Set the password of the session's own account (checked against the password policy), whatever its role, and commit that.
    The command line brings the `current` one with it: failures lock it as those of log-ins do, and count apart. At the portal
    that was given again before (`Reauthenticate`). Refused while the session has other changes. Result: `Committed`."""

    password: Secret
    current: Secret = ""


class SetEnableSecret(SessionVerb, frozen=True, kw_only=True, tag="user.enable_secret"):
    """Set the enable secret (checked against the password policy) in the candidate. Result: None."""

    secret: Secret
