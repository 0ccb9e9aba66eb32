"""What the values of a `managedDevice` of Microsoft Graph v1.0 become: data, by Microsoft's public reference.

| property | value | becomes |
|---|---|---|
| `deviceRegistrationState` | `REGISTERED` | registered; else `unregistered`, unless the site lets such in |
| `managementAgent` | `UNMANAGED` | the same as not registered |
| `deviceRegistrationState` | `revoked` | blocked as `manual` |
| `complianceState` | `compliant`, `inGracePeriod` | nothing; else blocked as `policy` |
| `jailBroken`, `partnerReportedThreatState` | `JAIL_BROKEN`, `THREATS` | blocked as `compromised`, whatever the compliance |
"""

REGISTERED = frozenset({"registered"})
REVOKED = frozenset({"revoked"})  # it was blocked, wiped or retired (reference of deviceRegistrationState)

# What Intune knows of by Exchange's word alone is under nobody's management.
UNMANAGED = frozenset({"eas", "unknown"})

# "inGracePeriod" is not compliant but still has access (reference of complianceState). `configManager` leaves the word to
# another system, which nobody here asks.
COMPLIANT = frozenset({"compliant", "inGracePeriod"})

JAIL_BROKEN = frozenset({"true"})  # a text, "True", "False" or "Unknown", in either case
THREATS = frozenset({"compromised", "highSeverity"})
