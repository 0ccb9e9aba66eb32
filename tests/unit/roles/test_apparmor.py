"""Where AppArmor confines what configd asks, it must see what it is asked about."""

from pathlib import Path

from appliance.configd.__main__ import STATE
from appliance.features import ntp

ROLE = Path(__file__).resolve().parents[3] / "roles/sentry"


def test_chronyd_may_read_the_one_file_that_configd_stages_for_it() -> None:
    rules = (ROLE / "files/apparmor-chronyd").read_text().splitlines()
    assert [line for line in rules if not line.startswith("#")] == [f"{STATE}/config/staging{ntp.CONFIGURATION} r,"]
