"""How each automated rule of the product is broken: in the ordinary lab, and on sites/stig.yml what that lab cannot show.

What is broken is what runs: files the daemons have read, the packet filter in the kernel, accounts, and the configuration.
"""

from datetime import UTC, datetime, timedelta

from tests.stig.breaks import broken, edited, filtered, stranger

# Nobody stands where the lab sends its log, unless a test does.
OPEN_IN_THE_LAB = frozenset(f"V-{number}" for number in (251002, 251006, *range(251015, 251021), 251030, 251039))
SOMEBODY = "V-251020"  # asks who was let through, and in a lab that may be nobody yet
TOMORROW = datetime.now(UTC) + timedelta(days=1)
SETTINGS = (
    "ssh max_sessions 6",
    "cli idle_minutes 30",
    "portal idle_minutes 20",
    "portal certificate_login mode off",
    "alerts actions audit_records_lost syslog",
    "alerts recipients somebody@lab.test",
    f"gateway observe until {TOMORROW:%Y-%m-%dT%H:%MZ}",
)
BY_SETTINGS = ("V-250982", "V-250988", "V-250994", "V-250996", "V-250984", "V-250998", "V-251021", "V-251035")
OBSERVED = ("V-251008", "V-251010")  # what is looked at can break them, and does not prove them
BY_FIPS = ("V-250995", "V-250997", "V-251001", "V-251011", "V-251012", "V-251014", "V-251036", "V-251037", "V-251038")
BREAKS = (
    broken(["V-250986"], edited, "/etc/security/faillock.conf", "s/^deny = .*/deny = 10/"),
    broken(
        ["V-250989", "V-250990", "V-250991", "V-250992", "V-250993"],
        edited,
        "/etc/security/pwquality.conf",
        r"s/^minlen = .*/minlen = 8/; s/^\([udlo]\)credit = .*/\1credit = 0/",
    ),
    broken(["V-250987"], edited, "/etc/issue.net", "s/.*/Welcome/"),
    broken(BY_FIPS, edited, "/etc/ssl/openssl.cnf", "s/^openssl_conf/# openssl_conf/"),
    broken(
        ["V-251013", "V-251026", "V-251027"],
        edited,
        "/etc/sentry/tls-proxy.json",
        r's/"\(minimum\|maximum\)": "1.2"/"\1": "1.3"/',
        ("systemctl", "restart", "sentry-tls-proxy.service"),
    ),
    broken(
        ["V-250999"],
        edited,
        "/etc/chrony/chrony.conf",
        "0,/^server /{/^server /d}",
        ("systemctl", "restart", "chrony.service"),
    ),
    broken(
        ["V-251000"],
        edited,
        "/etc/snmp/sentry/snmpd.conf",
        r"s/^\[snmp\] disableSNMPv2c yes/rocommunity public/",
        ("systemctl", "restart", "snmpd.service"),
    ),
    broken(["V-251003"], stranger),
    broken(["V-250983"], filtered, "input", "tcp", "dport", "8443", "accept"),
)
BROKEN = frozenset(BY_SETTINGS).union(*(one.rules for one in BREAKS))

# On sites/stig.yml: devices, certificates, routes, ports, servers and the release.
SETTINGS_OF_THE_SITE = (
    "no gateway device_authentication",
    "no gateway policy",
    "no certificates servers portal",
    "backends servers other host 10.98.3.77",
)
BROKEN_ON_THE_SITE = frozenset(
    ("V-251005", "V-251007", "V-251008", "V-251010", "V-251022", "V-251024", "V-251025", "V-251028", "V-251031",
     "V-251032", "V-251034")
)  # fmt: skip
UEM_ELSEWHERE = "V-250985"
"""Is about a UEM on another machine. It is broken apart from all others: the devices of the UEM in the box are away then."""
