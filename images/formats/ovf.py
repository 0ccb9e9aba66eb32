"""The OVF descriptor (DSP0243 2.0 and what vSphere adds): the machine that an OVA's disk wants, as XML.

Elements stand in the order that the schemas ask for; within an item that is the order of the alphabet. The site configuration is
asked for as a property, which vSphere hands to the guest on a CD (the ISO transport) and VirtualBox leaves alone: by way of
guestInfo it would take VMware's own tools in the guest, which do a lot more besides.
"""

from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

HARDWARE = "vmx-15"  # vSphere 6.7 U2 and later; UEFI with Secure Boot asks for vmx-13
GUEST = ("96", "debian10_64Guest")  # CIM's and VMware's word for a Debian that is newer than hardware version 15
CPUS = 2
MEMORY_MIB = 4096
STREAM_OPTIMIZED = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
# One card in each of the appliance's zones; who has fewer networks connects several cards to one.
NETWORKS = ("Device", "Management", "Backend")

_CPU, _MEMORY, _SCSI, _ETHERNET, _CD, _DISK, _SATA = (
    "3",
    "4",
    "6",
    "10",
    "15",
    "17",
    "20",
)  # CIM_ResourceAllocationSettingData.ResourceType
_NAMESPACES = {
    "xmlns": "http://schemas.dmtf.org/ovf/envelope/1",
    "xmlns:ovf": "http://schemas.dmtf.org/ovf/envelope/1",
    "xmlns:rasd": "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData",
    "xmlns:vssd": "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData",
    "xmlns:vmw": "http://www.vmware.com/schema/ovf",
}


@dataclass(frozen=True, slots=True)
class Property:
    """A setting that whoever deploys the machine may give: its key, label, description and whether it must not be shown."""

    key: str
    label: str
    about: str
    secret: bool = False


# The key is the one that cloud-init's OVF data source looks for; `appliance.first_boot.disks` does, too.
PROPERTIES = (
    Property(
        "user-data",
        "Site configuration (base64)",
        "The site configuration as YAML, in base64. Passwords in it are hashes. Without it the console asks.",
    ),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """What the descriptor says of this very image: name and version, the disk's file, its size as a file and as a disk."""

    name: str
    version: str
    disk: str
    file_bytes: int
    disk_bytes: int


def descriptor(machine: Machine) -> bytes:
    """The descriptor of a virtual machine with this disk: UEFI with Secure Boot, paravirtual disk and network cards."""
    body = _element("Envelope", _NAMESPACES, _references(machine), _disks(machine), _networks(), _system(machine))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'.encode()


def _references(machine: Machine) -> str:
    file = {"ovf:href": machine.disk, "ovf:id": "disk", "ovf:size": str(machine.file_bytes)}
    return _element("References", {}, _element("File", file))


def _disks(machine: Machine) -> str:
    disk = {
        "ovf:capacity": str(machine.disk_bytes),
        "ovf:capacityAllocationUnits": "byte",
        "ovf:diskId": "system",
        "ovf:fileRef": "disk",
        "ovf:format": STREAM_OPTIMIZED,
    }
    return _element("DiskSection", {}, _text("Info", "The disk"), _element("Disk", disk))


def _networks() -> str:
    zones = [
        _element("Network", {"ovf:name": name}, _text("Description", f"The network of the {name.lower()} zone"))
        for name in NETWORKS
    ]
    return _element("NetworkSection", {}, _text("Info", "The networks"), *zones)


def _system(machine: Machine) -> str:
    number, word = GUEST
    guest = {"ovf:id": number, "vmw:osType": word}
    return _element(
        "VirtualSystem",
        {"ovf:id": machine.name},
        _text("Info", "The appliance"),
        _text("Name", machine.name),
        _element(
            "OperatingSystemSection", guest, _text("Info", "The guest"), _text("Description", "Debian 13 (64-bit)")
        ),
        _hardware(machine),
        _product(machine),
    )


def _hardware(machine: Machine) -> str:
    system = _element(
        "System",
        {},
        _text("vssd:ElementName", "Virtual Hardware Family"),
        _text("vssd:InstanceID", "0"),
        _text("vssd:VirtualSystemIdentifier", machine.name),
        _text("vssd:VirtualSystemType", HARDWARE),
    )
    items = [
        _item(1, ElementName=f"{CPUS} virtual CPUs", AllocationUnits="hertz * 10^6", ResourceType=_CPU,
              VirtualQuantity=str(CPUS)),
        _item(2, ElementName=f"{MEMORY_MIB} MiB of memory", AllocationUnits="byte * 2^20", ResourceType=_MEMORY,
              VirtualQuantity=str(MEMORY_MIB)),
        _item(3, ElementName="SCSI controller", Address="0", ResourceSubType="VirtualSCSI", ResourceType=_SCSI),
        _item(4, ElementName="Disk", AddressOnParent="0", HostResource="ovf:/disk/system", Parent="3", ResourceType=_DISK),
        *(
            _item(5 + place, ElementName=f"{name} network card", AddressOnParent=str(7 + place),
                  AutomaticAllocation="true", Connection=name, ResourceSubType="VmxNet3", ResourceType=_ETHERNET)
            for place, name in enumerate(NETWORKS)
        ),
        # vSphere puts the CD with the property's value in here.
        _item(5 + len(NETWORKS), ElementName="SATA controller", Address="0", ResourceSubType="vmware.sata.ahci",
              ResourceType=_SATA),
        _item(6 + len(NETWORKS), ElementName="CD drive", AddressOnParent="0", AutomaticAllocation="false",
              Parent=str(5 + len(NETWORKS)), ResourceSubType="vmware.cdrom.remotepassthrough", ResourceType=_CD),
    ]  # fmt: skip
    settings = [
        _element("vmw:Config", {"ovf:required": "false", "vmw:key": key, "vmw:value": value})
        for key, value in (("firmware", "efi"), ("bootOptions.efiSecureBootEnabled", "true"))
    ]
    transport = {"ovf:transport": "iso"}
    return _element("VirtualHardwareSection", transport, _text("Info", "The hardware"), system, *items, *settings)


def _item(number: int, **fields: str) -> str:
    """One piece of hardware; the schema wants its fields in the order of the alphabet."""
    named = {**fields, "InstanceID": str(number)}
    return _element("Item", {}, *(_text(f"rasd:{name}", named[name]) for name in sorted(named)))


def _product(machine: Machine) -> str:
    properties = [
        _element(
            "Property",
            {
                "ovf:key": one.key,
                "ovf:type": "string",
                "ovf:userConfigurable": "true",
                **({"ovf:password": "true"} if one.secret else {}),
            },
            _text("Label", one.label),
            _text("Description", one.about),
        )
        for one in PROPERTIES
    ]
    return _element(
        "ProductSection",
        {},
        _text("Info", "What the appliance may be told at its first start"),
        _text("Product", "Sentry"),
        _text("Version", machine.version),
        *properties,
    )


def _text(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>\n"


def _element(name: str, attributes: dict[str, str], *children: str) -> str:
    said = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
    if not children:
        return f"<{name}{said}/>\n"
    inner = "".join(f"  {line}\n" for child in children for line in child.splitlines())
    return f"<{name}{said}>\n{inner}</{name}>\n"
