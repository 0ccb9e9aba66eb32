"""The configuration reference under docs/ is the schema's, not somebody's memory of it."""

from pathlib import Path

from appliance.config.reference import page, settings
from appliance.features import FEATURES

REPO = Path(__file__).parents[4]


def test_the_committed_page_is_what_the_schema_says_today() -> None:
    """`python -m appliance.config.reference > docs/configuration.md` after a change."""
    assert (REPO / "docs" / "configuration.md").read_text() == page(FEATURES)


def test_every_feature_and_every_setting_is_on_the_page() -> None:
    """Nothing is left out because of its shape: named instances, lists of groups, nested groups."""
    text = page(FEATURES)
    paths = [path for feature in FEATURES for path, _rules in settings(feature.name, feature.schema)]
    assert len(paths) > 50
    assert "users.accounts.NAME.ssh_keys" in paths
    assert "interfaces.NAME.routes[].via" in paths
    assert "gateway.limits.head_bytes" in paths
    assert [path for path in paths if f"`{path}`" not in text] == []


def test_secrets_are_marked() -> None:
    """So that nobody puts them into the site file by mistake."""
    lines = [line for line in page(FEATURES).splitlines() if "*secret*" in line and line.startswith("|")]
    assert [line.split("`")[1] for line in lines] == [
        "users.accounts.NAME.password_hash",
        "certificates.acme.binding.key",
        *(
            f"certificates.servers.{service}.{second}key"
            for service in ("gateway", "portal", "uem_push")
            for second in ("", "second.")
        ),
        "cli.enable_secret_hash",
        "snmp.users.NAME.auth_passphrase",
        "snmp.users.NAME.privacy_passphrase",
        "uem.epmm.password",
        "uem.intune.client_secret",
        "gateway.fleet_secret",
        "directory.bind_password",
        "email.password",
        "backup.passphrase",
        "backup.s3.NAME.secret_access_key",
    ]
