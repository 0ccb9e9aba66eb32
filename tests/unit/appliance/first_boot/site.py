"""A site that every appliance takes, as user-data has it."""

from appliance.configd.passwords import hashed

SECRET = "Never-In-A-Log-123"


def text() -> str:
    """YAML: an administrator with a hash, one network card."""
    return "\n".join(
        (
            "hostname: gw1.example.test",
            "interfaces:",
            "  eth0: {zones: [management, device, backend], addresses: [192.0.2.2/24]}",
            "firewall: {management_networks: [192.0.2.0/24]}",
            "ntp: {servers: [192.0.2.1, 192.0.2.3]}",
            "ssh: {password_authentication: true}",
            "users:",
            "  accounts:",
            f"    admin: {{role: administrator, password_hash: {hashed(SECRET)}}}",
            "backends: {servers: {mail: {host: 192.0.2.10}}}",
            "uem: {mode: embedded}",
            "",
        )
    )
