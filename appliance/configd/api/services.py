"""Orders to the appliance's services."""

from typing import Literal

from appliance.configd.api.words import Secret, SessionVerb


class ControlService(SessionVerb, frozen=True, kw_only=True, tag="service.control"):
    """Start, stop or restart one of our services. Result: Facts."""

    service: Literal["gateway", "agent", "uem", "portal", "tls-proxy", "alerts", "acme", "offsite", "directory"]
    action: Literal["start", "stop", "restart", "status"]


class Maintain(SessionVerb, frozen=True, kw_only=True, tag="gateway.maintain"):
    """`quiesce`: tell balancers to send nobody here, and serve everybody. `drain`: take nobody new and let the rest finish.
    `resume`: end both. Kept over a commit, not over a restart. Result: Facts."""

    action: Literal["quiesce", "drain", "resume"]


class PurgeRevocation(SessionVerb, frozen=True, kw_only=True, tag="revocation.purge"):
    """Forget the revocation lists and responders' answers, and fetch and ask anew. Result: None."""


class PersistDevices(SessionVerb, frozen=True, kw_only=True, tag="devices.persist"):
    """Have the disk confirm the device list, which each change has had it do already. Result: Facts."""


class CheckIn(SessionVerb, frozen=True, kw_only=True, tag="uem.check_in"):
    """Check in with the Cloud now, whatever the schedules say. Result: Facts."""


class EnrolSentry(SessionVerb, frozen=True, kw_only=True, tag="uem.enrol"):
    """Have the agent get its certificate from the UEM: with the token that an administrator of the UEM has given out, or,
    without one, the next certificate now. Result: Facts."""

    token: Secret = ""


class SendTestAlert(SessionVerb, frozen=True, kw_only=True, tag="alerts.test"):
    """Have a test mail sent to all who get alerts. Result: Facts, with what the mail server answered."""
