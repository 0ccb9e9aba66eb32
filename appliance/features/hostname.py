"""The appliance's name: /etc/hostname, /etc/hosts (with the static hosts of `dns`) and the kernel's host name."""

from collections.abc import Mapping

from appliance.features import values
from appliance.features.base import Feature, File, System, Tree
from appliance.features.template import filled

KERNEL_NAME = "/proc/sys/kernel/hostname"


def short_name(tree: Tree) -> str:
    """The first label of the appliance's name; what the kernel and the prompt show."""
    return str(tree["hostname"]).partition(".")[0]


def render(tree: Tree) -> Mapping[str, File]:
    """/etc/hostname holds the short name (hostname(5)), /etc/hosts ties it to the full one."""
    text = filled("hosts.j2", name=tree["hostname"], short=short_name(tree), hosts=tree["dns"]["static_hosts"])
    return {"/etc/hostname": File(f"{short_name(tree)}\n"), "/etc/hosts": File(text)}


def reconcile(tree: Tree, system: System) -> bool:
    """Give the running kernel the name; it reads /etc/hostname only when the machine starts."""
    wanted = short_name(tree)
    if (system.read(KERNEL_NAME) or "").strip() == wanted:
        return False
    system.run(["hostname", wanted])
    return True


FEATURE = Feature(
    name="hostname",
    label="Name of the appliance",
    schema=values.described(
        values.FQDN_KIND,
        "Host name",
        "Full name of the appliance. It is in the certificates, and the portal answers to it.",
    ),
    render=render,
    reconcile=reconcile,
)
