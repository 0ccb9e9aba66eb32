"""Every command, and the grammar of each mode made from them."""

from functools import cache
from typing import TYPE_CHECKING

from appliance.cli import (
    actions,
    backup,
    capture,
    certificates,
    configure,
    ios,
    software,
    stig,
    support,
    tokens,
    wizard,
)
from appliance.cli.actions import whole_number
from appliance.cli.command import Command, Mode, Tree, build
from appliance.cli.grammar import Argument, Node

if TYPE_CHECKING:
    from appliance.cli.command import Action
    from appliance.cli.shell import Shell

PAGE_LINES = 512  # the longest terminal anybody has
REVISIONS = 999_999
CONFIRM_MINUTES = 1_440
TOKEN_DAYS = 365
CAPTURE_SECONDS = 300
VLANS = 4_094  # IEEE 802.1Q

SERVED = "gateway|portal|uem-push"
CAUSES = "compromised|os_version|not_encrypted|out_of_contact|policy"

EXEC = frozenset({Mode.EXEC, Mode.PRIVILEGED})
PRIVILEGED = frozenset({Mode.PRIVILEGED})
CONFIG = frozenset({Mode.CONFIG})
INTERFACE = frozenset({Mode.INTERFACE})
EDITING = frozenset({Mode.CONFIG, Mode.INTERFACE})
ALL = EXEC | EDITING

TOPICS = (
    ("version", "version", "What runs here: appliance, Debian, kernel, OpenSSL, configuration"),
    ("clock", "clock", "The time, and whether it is kept by NTP"),
    ("uptime", "uptime", "How long the machine has been running"),
    ("hostname", "hostname", "The name of the appliance"),
    ("banner", "banner", "The log-in banner"),
    ("interfaces", "interfaces", "Network interfaces and their addresses"),
    ("ip route", "routes", "The routing table"),
    ("ip name-server", "dns", "The DNS servers"),
    ("ip arp", "arp", "The neighbours"),
    ("ip domain-name", "domain-name", "The domain, and those tried behind short names"),
    ("statichost", "static-hosts", "Names that are known without DNS"),
    ("system", "system", "The machine in a few lines"),
    ("kparam", "kparam", "Kernel parameters: those the appliance sets, and what the kernel has"),
    ("acl", "acl", "The access control lists, and what each entry has seen"),
    ("portalacl", "portal-acl", "From where SSH, the portal and the gateway answer"),
    ("tech", "tech", "All that support needs, as one text without secrets"),
    ("sentry config-properties", "config-properties", "Every setting that runs, by its path"),
    ("sentry config-properties <filter>", "config-properties", "Those whose path holds a word"),
    ("sentry statistics", "statistics", "The counters of the gateway and its agent"),
    ("sentry servers", "backends", "The servers behind the gateway"),
    ("sentry system-resources", "system-resources", "Load, memory, disks, and what each service uses"),
    ("sentry connectivity", "connectivity", "Whether the UEM, the backends and the time servers are reached"),
    ("ntp", "ntp", "Time servers and how well they are followed"),
    ("ssh", "ssh", "What the SSH server goes by"),
    ("users", "users", "Administrators and their roles"),
    ("sessions", "sessions", "Who is logged in"),
    ("firewall", "firewall", "The flows that are let through"),
    ("ports", "ports", "Inbound ports and who listens"),
    ("httpd protocol", "httpd-protocol", "The TLS versions that our ports take, asked just now"),
    ("service", "services", "The services and their state"),
    ("portal", "portal", "The portal"),
    ("certificate-login", "certificate-login", "Log-in to the portal by certificate, and until when its lists hold"),
    ("gateway", "gateway", "How devices may come in, and the gateway's counters"),
    ("revocation", "revocation", "What devices' certificates are judged by"),
    ("agent", "agent", "The agent's counters"),
    ("backends", "backends", "The servers behind the gateway"),
    ("uem", "uem", "The UEM and the link to it"),
    ("sentry devices", "devices", "The device list"),
    ("sentry device-states", "device-states", "How many devices there are of each state"),
    ("sentry device <id>", "device", "What is known of one device"),
    ("sentry redirects", "redirects", "Devices that a backend has sent to another server"),
    ("sentry rules", "rules", "The site's own rules on devices, and whether they have expired"),
    ("sentry policies", "policies", "The ActiveSync policies of the UEM, and how many devices they are assigned to"),
    ("sentry emm-source-verify", "emm-source-verify", "Whether the sender of the UEM's pushes is verified"),
    ("sentry emm-ips", "emm-ips", "From where the UEM may push"),
    ("syslog", "syslog", "The log servers, how they are, and what waits for them"),
    ("logging", "syslog", "The same"),
    ("snmp", "snmp", "Whether SNMP answers, for whom, and where traps go"),
    ("log", "log", "The audit trail, its end"),
    ("log gateway", "log", "The gateway's part of the audit trail"),
    ("processes", "processes", "The largest processes"),
    ("memory", "memory", "Memory in use"),
    ("tcp", "tcp", "Listening sockets"),
    ("alerts", "alerts", "Alerts that wait and that were told"),
    ("alerts delivery", "alerts-delivery", "Who gets alerts, and whether they arrive"),
    ("backups", "backups", "The backups that lie here, and whether the last one could be made"),
    ("downloads", "downloads", "Files that wait to be fetched: bundles, captures"),
    ("capture", "capture", "The capture of packets that runs, or what the last one said"),
    ("watchdog", "watchdog", "Services that hung and were ended, and what is kept of them"),
    ("backup-destinations", "backup-destinations", "Where backups are sent, and whether they arrived"),
    ("backup-key", "backup-key", "The public key by which backups are sent to SFTP servers"),
    ("directory", "directory", "Whether the directory's servers can be asked"),
    ("alerts ids", "alerts-ids", "The alerts there are, and what is done with each"),
    ("confirmation", "confirmation", "Whether a commit waits for confirmation"),
    ("facts", "facts", "The facts that a STIG scan asks, and the command behind each"),
    ("stig", "stig", "What the appliance's last scan of itself has found"),
    ("stig open", "stig-open", "The rules that it found open, and what mends each"),
)
"""`show` of what runs: words, configd's topic, help."""

COMMANDS: tuple[Command, ...] = (
    *(
        Command(f"show {words}", text, actions.show(topic, "gateway" if words == "log gateway" else ""), EXEC)
        for words, topic, text in TOPICS
    ),
    Command("show fips", "Whether cryptography runs in FIPS 140 mode", actions.show("fips", "self-test"), EXEC),
    Command("show certificates", "What each service shows, and what is ready beside it", certificates.show, EXEC),
    Command(f"show certificates <service:{SERVED}|client>", "One service's, with its request", certificates.show, EXEC),
    Command("show sentry explain <id> <user>", "What becomes of a device's request, and why", actions.explain, EXEC),
    Command("show sentry explain <id> <user> from <address>", "The same, from this address", actions.explain, EXEC),
    Command(
        "show sentry explain <id> <user> command <command>",
        "The same, for this ActiveSync command",
        actions.explain,
        EXEC,
    ),
    Command(
        "show sentry explain <id> <user> from <address> command <command>",
        "The same, from this address and for this command",
        actions.explain,
        EXEC,
    ),
    Command("stig scan", "Have the appliance scan itself by the STIGs' rules", stig.scan, EXEC),
    Command("facts <fact>", "One fact that a STIG scan asks: its command and what it shows", stig.fact, EXEC),
    Command("show timeout", "Idle times and session limits", actions.show_timeout, EXEC),
    Command("show running-config", "The configuration that runs", actions.show_config("running"), PRIVILEGED),
    Command("show startup-config", "The configuration after a restart", actions.show_config("startup"), PRIVILEGED),
    Command("show candidate", "The configuration being edited", actions.show_config("candidate"), PRIVILEGED),
    Command("show diff", "What the candidate would change", actions.show_diff, PRIVILEGED),
    Command("show revisions", "The kept configurations", actions.show_revisions, PRIVILEGED),
    Command("ping <host>", "ICMP echo to a host", actions.ping, EXEC),
    Command("host <host>", "Look a name or address up in DNS", actions.lookup, EXEC),
    Command("traceroute <host>", "The routers on the way to a host", actions.trace, EXEC),
    Command("timeout <minutes>", "Shorten the idle time of this session", actions.timeout, EXEC),
    Command("terminal length <lines>", "Pause after so many lines; 0: never", actions.terminal_length, EXEC),
    Command("enable", "Go privileged (asks for the enable secret)", actions.enable, EXEC),
    Command("enable <secret>", "Go privileged", actions.enable, EXEC),
    Command("password", "Set your own password (asks for the one you have)", configure.own_password, EXEC),
    Command("disable", "Give privilege up", actions.disable, PRIVILEGED),
    Command("configure terminal", "Change the configuration", actions.configure, PRIVILEGED),
    Command(
        "service <service:gateway|agent|uem|portal|tls-proxy|alerts|acme|offsite|directory> <action:start|stop|restart|status>",
        "Start, stop or restart a service, or say how it is",
        actions.service,
        PRIVILEGED,
    ),
    Command(
        "service <service:gateway> <action:quiesce|drain|resume>",
        "Take the gateway out of its balancers, drain it, or end both",
        actions.maintain,
        PRIVILEGED,
    ),
    Command(
        "clear revocation", "Forget revocation lists and answers; fetch anew", actions.purge_revocation, PRIVILEGED
    ),
    Command("clear arp-cache", "Forget the neighbours; each is listed", actions.clear_neighbours, PRIVILEGED),
    Command("clock set <time>", "Set the clock, where no time server is followed", actions.set_clock, CONFIG),
    Command("setup", "Be asked for what an appliance needs, and commit it", wizard.setup, PRIVILEGED),
    Command("uem enrol", "Enrol this gateway at its UEM (asks for the token)", actions.enrol, PRIVILEGED),
    Command("uem enrol <secret>", "Enrol this gateway at its UEM", actions.enrol, PRIVILEGED),
    Command("uem renew", "Get the next certificate from the UEM now", actions.renew_enrolment, PRIVILEGED),
    Command(
        "device <action:register|allow|block|remove> <id> <user>",
        "Register, allow, block or remove a device",
        actions.device,
        PRIVILEGED,
    ),
    Command(
        "device <action:register|allow|block> <id> <user> note <note>",
        "The same, with a note why",
        actions.device,
        PRIVILEGED,
    ),
    Command("device wipe <id> <user>", "Have a device delete everything on it", actions.wipe("wipe"), PRIVILEGED),
    Command("device wipe <id> <user> note <note>", "The same, with a note why", actions.wipe("wipe"), PRIVILEGED),
    Command(
        "device wipe <id> <user> account-only",
        "Have a device delete this user's account and its data (ActiveSync 16.1)",
        actions.wipe("wipe-account"),
        PRIVILEGED,
    ),
    Command(
        "device wipe <id> <user> account-only note <note>",
        "The same, with a note why",
        actions.wipe("wipe-account"),
        PRIVILEGED,
    ),
    Command("device cancel-wipe <id> <user>", "Take a pending wipe back", actions.cancel_wipe, PRIVILEGED),
    Command("device cancel-wipe <id> <user> note <note>", "The same, with a note why", actions.cancel_wipe, PRIVILEGED),
    Command(
        f"device <finding:flag|clear> <cause:{CAUSES}> <id> <user>",
        "Say that something is wrong with a device, or no longer",
        actions.flag,
        PRIVILEGED,
    ),
    Command(
        "device assign-policy <id> <user> <policy>",
        "Have a device apply a policy of the UEM's",
        actions.device_policy,
        PRIVILEGED,
    ),
    Command(
        "device revert-policy <id> <user>",
        "Have a device apply the default policy again",
        actions.device_policy,
        PRIVILEGED,
    ),
    Command("persist sentry devices", "Have the disk confirm the device list", actions.persist_devices, PRIVILEGED),
    Command("debug sentry check-in", "Check in with the UEM now, in mode cloud", actions.check_in, PRIVILEGED),
    Command("clear sentry redirects", "Forget where backends have sent devices", actions.clear_redirects, PRIVILEGED),
    Command("clear sentry redirects <id> <user>", "Of one device and user", actions.clear_redirects, PRIVILEGED),
    Command("alert test", "Send a test mail to all who get alerts", actions.alert_test, PRIVILEGED),
    Command(
        f"certificate <service:{SERVED}|client> renew",
        "Make the appliance's own certificate anew, or order the next from the ACME server",
        certificates.renew,
        PRIVILEGED,
    ),
    Command("reload", "Restart the appliance", actions.power("reload"), PRIVILEGED),
    Command("poweroff", "Turn the appliance off", actions.power("poweroff"), PRIVILEGED),
    Command("write", "Commit the candidate", configure.commit, PRIVILEGED),
    Command("write memory", "Commit the candidate", configure.commit, PRIVILEGED),
    Command("clear candidate", "Forget what was edited and not committed", configure.discard, PRIVILEGED),
    Command("diff", "What the candidate would change", actions.show_diff, EDITING),
    Command("check", "Validate, render and vet the candidate; change nothing", configure.check, EDITING),
    Command("commit", "Make the candidate the running configuration", configure.commit, EDITING),
    Command("commit comment <comment>", "Commit, with a comment in the revision", configure.commit, EDITING),
    Command("commit confirmed <minutes>", "Commit, and return by itself unless confirmed", configure.commit, EDITING),
    Command("commit confirmed <minutes> comment <comment>", "The same, with a comment", configure.commit, EDITING),
    Command("confirm", "Keep the commit that waits for confirmation", configure.confirm, EDITING),
    Command("discard", "Forget what was edited and not committed", configure.discard, EDITING),
    Command("rollback <revision>", "Commit a kept revision again", configure.rollback, EDITING),
    Command("username <user> password", "Set an account's password (asks for it)", configure.account_password, CONFIG),
    Command("username <user> password <secret>", "Set an account's password", configure.account_password, CONFIG),
    Command("enable secret", "Set the enable secret (asks for it)", configure.enable_secret, CONFIG),
    Command("enable secret <secret>", "Set the enable secret", configure.enable_secret, CONFIG),
    *ios.COMMANDS,
    *tokens.COMMANDS,
    *backup.COMMANDS,
    *software.COMMANDS,
    *support.COMMANDS,
    *capture.COMMANDS,
    Command(
        f"certificate <service:{SERVED}> csr",
        "Make a key and a request for the site's authority",
        certificates.request,
        CONFIG,
    ),
    Command(
        f"certificate <service:{SERVED}> self-signed",
        "Show a certificate that signs itself",
        certificates.made_here("self_signed"),
        CONFIG,
    ),
    Command(
        f"certificate <service:{SERVED}> own",
        "Show one of the appliance's own authority",
        certificates.made_here("own"),
        CONFIG,
    ),
    Command(
        f"certificate <service:{SERVED}> acme",
        "Have it from the ACME server (certificates acme)",
        certificates.made_here("acme"),
        CONFIG,
    ),
    Command(
        f"certificate <service:{SERVED}> upload",
        "Take the answer to a request (asks for it)",
        certificates.upload(second=False),
        CONFIG,
    ),
    Command(
        f"certificate <service:{SERVED}> upload-pkcs12",
        "Take a certificate with its key (asks for both)",
        certificates.upload_pkcs12(second=False),
        CONFIG,
    ),
    Command(
        f"certificate <service:{SERVED}> second upload",
        "Take one that takes over when the first ends",
        certificates.upload(second=True),
        CONFIG,
    ),
    Command(
        f"certificate <service:{SERVED}> second upload from <moment>",
        "The same, from this minute on",
        certificates.upload(second=True),
        CONFIG,
    ),
    Command(
        f"certificate <service:{SERVED}> second upload-pkcs12",
        "Take one with its key that takes over when the first ends",
        certificates.upload_pkcs12(second=True),
        CONFIG,
    ),
    Command(
        f"certificate <service:{SERVED}> second upload-pkcs12 from <moment>",
        "The same, from this minute on",
        certificates.upload_pkcs12(second=True),
        CONFIG,
    ),
    Command(
        "httpd protocol TLSv1.2", "TLS 1.2 alone on 8443 and 9090", certificates.httpd_protocol("1.2", "1.2"), CONFIG
    ),
    Command("httpd protocol TLSv1.3", "TLS 1.3 alone", certificates.httpd_protocol("1.3", "1.3"), CONFIG),
    Command("httpd protocol TLSv1.2 TLSv1.3", "Both", certificates.httpd_protocol("1.2", "1.3"), CONFIG),
    Command(
        "httpd-reset-default-ssl-ciphers",
        "The cipher suites of 8443 and 9090 as they are by default",
        certificates.reset_ciphers,
        CONFIG,
    ),
    Command("ip address <address>", "Add an address with its prefix length", configure.interface_address, INTERFACE),
    Command("ip address <address> <mask>", "The same, with a mask", configure.interface_address, INTERFACE),
    Command("help", "How to edit a line and get help", actions.help_keys, ALL),
    Command("exit", "One mode up; from EXEC and PRIVILEGED: leave", actions.leave, EXEC),
    Command("exit", "One mode up", actions.up, EDITING),
    Command("end", "One mode up", actions.up, PRIVILEGED | EDITING),
    Command("logout", "Leave", actions.leave, ALL),
)

WORDS = {
    "show": "Show what runs, or the configuration",
    "show ip": "Routes, name servers, neighbours",
    "show sentry": "Devices, their policies, rules on them, and how the UEM is verified",
    "show sentry explain": "What becomes of a device's request, and why",
    "show sentry explain <id> <user> from": "The same, from an address that rules may name",
    "show sentry explain <id> <user> command": "The same, for another command than Sync",
    "show httpd": "The TLS of our ports",
    "certificate": "The certificates that devices, administrators and the UEM see",
    "httpd": "The TLS of the portal (8443) and of the UEM's pushes (9090)",
    "httpd protocol": "Which TLS versions they speak",
    "terminal": "This terminal",
    "configure": "Change the configuration",
    "service": "Start, stop or restart a service, or say how it is",
    "service gateway": "The gateway on 443",
    "service gateway quiesce": "Tell balancers to send nobody; serve everybody",
    "service gateway drain": "Take nobody new; what runs may finish",
    "service gateway resume": "Serve as before quiesce or drain",
    "service agent": "The keeper of the device list",
    "service uem": "The UEM in the box",
    "service portal": "The portal",
    "service tls-proxy": "What ends TLS on 8443, before the portal",
    "service alerts": "What tells people what they must hear of",
    "service acme": "What asks the ACME server for certificates",
    "service offsite": "What sends backups to other machines",
    "alert": "Try whether alerts arrive",
    "uem": "This gateway's certificate at its UEM",
    "device": "Register, allow, block, wipe or remove a device, say what is wrong with it or what policy it has",
    "device register": "This device belongs to this user and may pass",
    "device allow": "The device may pass",
    "device block": "The device may not pass, from this moment on",
    "device remove": "Forget the device",
    "device wipe": "The device deletes everything on it, or one account, as soon as it comes",
    "device cancel-wipe": "Take a wipe back that was not acknowledged yet; what stood before stands again",
    "device flag": "Something is wrong with the device: it is blocked until that is cleared",
    "device clear": "It is no longer so",
    "device assign-policy": "The device must apply this policy of the UEM's",
    "device revert-policy": "The device must apply the default policy",
    "clear": "Forget something",
    "debug": "Have something done out of its turn",
    "debug sentry": "What the gateway and its agent do by themselves otherwise",
    "persist": "Have the disk confirm what is kept",
    "persist sentry": "What the gateway and its agent keep",
    "clear sentry": "What the gateway has learned",
    "commit confirmed": "Commit, and return by itself unless confirmed",
    "clock": "The clock",
    **ios.WORDS,
    **tokens.WORDS,
    **backup.WORDS,
    **software.WORDS,
    **support.WORDS,
    **capture.WORDS,
    "commit comment": "Commit, with a comment in the revision",
}
"""The help of words that several commands begin with, or that stand before an argument."""
for _service in ("gateway", "agent", "uem", "portal", "tls-proxy", "alerts", "acme", "offsite", "directory"):
    for _action, _text in (
        ("start", "Start it"),
        ("stop", "Stop it"),
        ("restart", "Stop and start it"),
        ("status", "Say how it is"),
    ):
        WORDS[f"service {_service} {_action}"] = _text
for _service, _text in (
    ("gateway", "What devices see on 443"),
    ("portal", "What administrators see on 8443"),
    ("uem-push", "What a UEM on another machine sees on 9090"),
    ("client", "What this gateway shows the UEM"),
):
    WORDS[f"certificate {_service}"] = _text
    WORDS[f"certificate {_service} second"] = "One that takes over by itself"
    for _action in ("upload", "upload-pkcs12"):
        WORDS[f"certificate {_service} second {_action} from"] = "From a minute on, where that is before the first ends"
for _finding in ("flag", "clear"):
    for _cause, _text in (
        ("compromised", "Rooted, jailbroken or otherwise taken over"),
        ("os_version", "An operating system that is too old"),
        ("not_encrypted", "Its storage is not encrypted"),
        ("out_of_contact", "Not seen by the UEM for too long"),
        ("policy", "Any other breach of the policy"),
    ):
        WORDS[f"device {_finding} {_cause}"] = _text

ARGUMENTS: dict[str, tuple[Argument, str]] = {
    "host": (Argument("host"), "A name or an address"),
    "minutes": (Argument("minutes", whole_number(1, CONFIRM_MINUTES)), "Minutes"),
    "address": (Argument("address"), "An address"),
    "mask": (Argument("mask"), "A mask, such as 255.255.255.0"),
    "lines": (Argument("lines", whole_number(0, PAGE_LINES)), "Lines; 0 never pauses"),
    "id": (Argument("id"), "The device id, as `show sentry devices` prints it"),
    "user": (Argument("user"), "The user's name, as the device or the account has it"),
    "policy": (Argument("policy"), "The policy's name, from `show sentry policies`"),
    "note": (Argument("note", rest=True), "Why; up to the end of the line"),
    "moment": (Argument("moment"), "A minute in UTC, such as 2026-01-31T18:00Z"),
    "comment": (Argument("comment", rest=True), "A comment; up to the end of the line"),
    "revision": (Argument("revision", whole_number(1, REVISIONS)), "The revision's number, from `show revisions`"),
    "filter": (Argument("filter"), "A part of the path, such as gateway"),
    "command": (Argument("command"), "An ActiveSync command, such as FolderSync"),
    "time": (Argument("time"), "The time in UTC, such as 2026-01-31T18:00:00Z"),
    "name": (Argument("name"), "A DNS name"),
    "network": (Argument("network"), "The network, with its prefix length or before its mask"),
    "next": (Argument("next"), "The router's address, or the network's mask"),
    "via": (Argument("via"), "The router's address"),
    "interface": (Argument("interface"), "An interface of the configuration"),
    "vlan": (Argument("vlan", whole_number(1, VLANS)), "The VLAN's number"),
    "token": (Argument("token"), "The token's name: lower-case letters, digits and dashes"),
    "scopes": (
        Argument("scopes"),
        "Of read, metrics, diagnose, devices, services, configure, accounts, power; commas between them",
    ),
    "days": (Argument("days", whole_number(1, TOKEN_DAYS)), "How long it is good"),
    "networks": (Argument("networks"), "The networks it may be used from, commas between them"),
    "backup": (Argument("backup"), "A backup's name, from `show backups`"),
    "fact": (Argument("fact"), "The fact's name, from `show facts`"),
    "download": (Argument("download"), "A file's name, from `show downloads`"),
    "port": (Argument("port", whole_number(1, 65_535)), "A port, of either end"),
    "seconds": (Argument("seconds", whole_number(1, CAPTURE_SECONDS)), "For how long"),
    "secret": (Argument("secret", secret=True), "Not here: you are asked for it"),
}


@cache
def commands(mode: Mode) -> Tree:
    """The commands of the table that stand in `mode`."""
    return build((each for each in COMMANDS if mode in each.modes), WORDS, ARGUMENTS)


def tree(mode: Mode, shell: "Shell") -> Tree:
    """All that may be typed in `mode`: the table's commands and, in the configuration modes, `do`, `no`, `show` and every
    setting of the schema."""
    if mode not in EDITING:
        return commands(mode)
    from appliance.cli import settings_tree as settings  # noqa: PLC0415 - the schema takes time that `show` must not pay

    names = settings.existing(shell)
    root = ("interfaces", shell.interface) if mode is Mode.INTERFACE else ()
    nodes = (*commands(mode), _do(), *settings.set_nodes(names, root))
    taken_back = (*_taken_back(mode), *settings.delete_nodes(names, root))
    no = _keyword("no", "Remove a setting, or bring its default back", taken_back)
    show = _keyword("show", "Show the candidate", settings.show_nodes(names, root), configure.show(root))
    if mode is Mode.INTERFACE:
        return (*nodes, no, show)
    argument = Argument("NAME", suggest=lambda: names(("interfaces",)))
    instance: Node[Action] = Node(
        word="<name>", help="An interface by the kernel's name", argument=argument, action=_enter
    )
    return (*nodes, no, show, _keyword("interface", "Change one interface", (*_vlan(), instance)))


@cache
def _taken_back(mode: Mode) -> Tree:
    """The words of other routers behind `no`."""
    return build((each for each in ios.NO_COMMANDS if mode in each.modes), WORDS, ARGUMENTS)


@cache
def _vlan() -> Tree:
    """`interface vlan NUMBER`, as other routers have it."""
    return build((Command("vlan <vlan>", "A VLAN by its number", ios.enter_vlan, CONFIG),), WORDS, ARGUMENTS)


def _enter(shell: "Shell", values: "actions.Values") -> None:
    configure.enter_interface(values["NAME"])(shell, values)


@cache
def _do() -> "Node[Action]":
    """`do` with the commands of PRIVILEGED mode that neither change the mode nor end the session."""
    kept = tuple(node for node in commands(Mode.PRIVILEGED) if node.word not in MODE_WORDS)
    return _keyword("do", "Do a command of PRIVILEGED mode", kept)


MODE_WORDS = frozenset({"enable", "disable", "configure", "end", "exit", "logout"})


def _keyword(word: str, text: str, following: Tree, action: "Action | None" = None) -> "Node[Action]":
    return Node(word=word, help=text, action=action, children=lambda _text: following)
