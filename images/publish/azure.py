"""Azure: the fixed VHD as a managed disk that is written directly, and that as a version of an image in a compute gallery.

A managed disk takes pages as a page blob does, by an address that is good for some hours: no storage account that somebody could
read and has to be emptied, and no key of one. Only the ranges that are not all zeros are sent. A gallery and not a managed image,
for only a gallery's images can be started as trusted launch machines (Secure Boot, virtual TPM).

The disk is a staging place: it goes when the version has been copied to its regions, and whenever something fails before. A
tag with the VHD's digest tells a later run what is there: a version is left as it is or waited for, one that failed and a staging
disk are made anew.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from azure.core.exceptions import ClientAuthenticationError, ResourceNotFoundError
from azure.mgmt.compute import ComputeManagementClient
from azure.storage.blob import BlobClient

from images.formats import vhd
from images.formats.sparse import MIB
from images.publish.disk import Disk
from images.publish.sending import send

PAGES = 4 * MIB  # of one request (Put Page: at most 4 MiB, from and to a multiple of 512 bytes)
ACCESS_SECONDS = 6 * 3_600  # that the address is good for: 1.5 GB over 1 Mbit/s take 3.5 hours
REPLICATION_SECONDS = 4 * 3_600.0  # until a version is in all of its regions
PAUSE = 15.0
DIGEST, VERSION = "sentry-sha256", "sentry-version"  # tags
NAMES = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,78}[A-Za-z0-9])?")
VERSION_NAME = re.compile(r"\d{1,9}\.\d{1,9}\.\d{1,9}")
SECURITY = ("TrustedLaunch", "TrustedLaunchSupported", "TrustedLaunchAndConfidentialVmSupported")
FEATURES = (
    ("SecurityType", "TrustedLaunchSupported"),
    ("IsAcceleratedNetworkSupported", "True"),
    ("DiskControllerTypes", "SCSI, NVMe"),
)
PUBLISHER = OFFER = "sentry"  # of a definition that is made here; its name is the third part


class AzureError(RuntimeError):
    """The image cannot be made there; the message says why and what is allowed."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the image goes: the resource group with the gallery, the image definition in it, the version's name and the regions,
    of which the first one takes the upload. Raises `AzureError` for a name that Azure would not take."""

    group: str
    gallery: str
    image: str
    version: str
    regions: tuple[str, ...]

    def __post_init__(self) -> None:
        for what, name in (("gallery", self.gallery), ("image", self.image)):
            if not NAMES.fullmatch(name):
                raise AzureError(f"{what} {name}: allowed are letters, digits, dots, hyphens and underscores, up to 80")
        if not VERSION_NAME.fullmatch(self.version):
            raise AzureError(
                f"version {self.version}: a gallery takes three numbers with dots, as 1.2.3; say which with --gallery-version"
            )
        if not self.regions:
            raise AzureError("regions: found none; allowed: one or more, as westeurope")

    @property
    def staging(self) -> str:
        """The name of the disk that is written."""
        return f"{self.image}-{self.version}-upload".replace(".", "-")[-80:].lstrip("-")


@dataclass(frozen=True, slots=True)
class Published:
    """A gallery's image version: its resource id, and whether it was there before."""

    version: str
    existed: bool


@dataclass(frozen=True, slots=True)
class Publication:
    """VHDs on their way to be images. `blob` is what else the clients of addresses are made with."""

    client: ComputeManagementClient
    tell: Callable[[str], None]
    blob: Mapping[str, Any] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def publish(self, disk: Disk, place: Place) -> Published:
        """The image version, made or found. Raises `AzureError`, `DiskError`, and the SDK's errors."""
        footer = vhd.read(disk.end)
        if disk.size != footer.size + vhd.FOOTER_BYTES or footer.size % MIB:
            raise AzureError(
                f"{disk.name}: has {disk.size} bytes for a disk of {footer.size}; allowed are whole MiB and its footer"
            )
        state = self._state(disk, place)
        existed = state not in (None, "Failed")
        if not existed:
            self._definition(place)
            if state == "Failed":
                self.tell(f"the version {place.version} failed in an earlier run, and is made anew")
                self.client.gallery_image_versions.begin_delete(*_path(place), place.version).result()
            self._clear(place)
            try:
                self._make(disk, place)
            except BaseException:
                self._clear(place)
                raise
        else:
            self.tell(f"the version {place.version} is there already")
        identity = self._succeeded(disk, place)
        self._clear(place)
        return Published(identity, existed)

    def _state(self, disk: Disk, place: Place) -> str | None:
        """How far the version is, which must be of this disk; None where there is none."""
        try:
            found = self.client.gallery_image_versions.get(*_path(place), place.version)
        except ResourceNotFoundError:
            return None
        if (found.tags or {}).get(DIGEST) != disk.digest:
            raise AzureError(
                f"{place.gallery}/{place.image}: the version {place.version} is taken, and not by this disk; "
                "build with another version"
            )
        return _word(found.properties.provisioning_state) if found.properties else "Creating"

    def _definition(self, place: Place) -> None:
        """The image definition: made where there is none, and otherwise it must be one for this image."""
        try:
            found = self.client.gallery_images.get(*_path(place))
        except ResourceNotFoundError:
            self.client.galleries.get(place.group, place.gallery)  # without it the message is its own
            self.tell(f"makes the image definition {place.image}")
            self.client.gallery_images.begin_create_or_update(*_path(place), _as_definition(place)).result()
            return
        is_ = found.properties
        features = {one.name: one.value for one in (is_.features or ())} if is_ else {}
        kind = tuple(map(_word, (is_.os_type, is_.hyper_v_generation, is_.os_state))) if is_ else ()
        if kind != ("Linux", "V2", "Generalized") or features.get("SecurityType") not in SECURITY:
            raise AzureError(
                f"{place.gallery}/{place.image}: is {', '.join(kind)} with {features or 'no features'}; "
                f"wanted: Linux, V2, Generalized with SecurityType {SECURITY[1]}: take another name"
            )

    def _make(self, disk: Disk, place: Place) -> None:
        """Write the disk, and have the version begun of it."""
        disks = self.client.disks
        made = disks.begin_create_or_update(place.group, place.staging, _as_disk(disk, place)).result()
        self.tell(f"writes the disk {place.staging}: {disk.blocks} ranges of {PAGES // MIB} MiB")
        grant: Any = {"access": "Write", "durationInSeconds": ACCESS_SECONDS}
        address = disks.begin_grant_access(place.group, place.staging, grant).result().access_sas
        if not address:
            raise AzureError(f"{place.staging}: Azure gave no address to write to")
        with BlobClient.from_blob_url(address, **self.blob) as blob:

            def put(part: tuple[int, bytes]) -> None:
                try:
                    blob.upload_page(part[1], part[0] * PAGES, len(part[1]))
                except ClientAuthenticationError as error:  # which says nothing of our own credentials
                    hours = ACCESS_SECONDS // 3_600
                    raise AzureError(
                        f"{place.staging}: takes no more pages; its address is good for {hours} hours"
                    ) from error

            send(disk.parts(), put, disk.blocks, self.tell)
        disks.begin_revoke_access(place.group, place.staging).result()
        self.tell(f"makes the version {place.version} for {', '.join(place.regions)}; it takes some minutes")
        wanted = _as_version(disk, place, str(made.id))
        self.client.gallery_image_versions.begin_create_or_update(*_path(place), place.version, wanted, polling=False)

    def _succeeded(self, disk: Disk, place: Place) -> str:
        """Wait for the version to be in its regions; its id."""
        until = self.clock() + REPLICATION_SECONDS
        while (state := self._state(disk, place)) != "Succeeded":
            if state not in ("Creating", "Updating") or self.clock() > until:
                raise AzureError(
                    f"{place.gallery}/{place.image}/{place.version}: is {state}; run it again, or look in Azure's portal"
                )
            self.sleep(PAUSE)
        return str(self.client.gallery_image_versions.get(*_path(place), place.version).id)

    def _clear(self, place: Place) -> None:
        """Delete the staging disk, if there is one; another's disk of that name is left alone."""
        disks = self.client.disks
        try:
            found = disks.get(place.group, place.staging)
        except ResourceNotFoundError:
            return
        if DIGEST not in (found.tags or {}):
            raise AzureError(f"{place.group}: the disk {place.staging} is none of ours (it has no tag {DIGEST})")
        if found.properties and found.properties.disk_state == "ActiveUpload":
            disks.begin_revoke_access(place.group, place.staging).result()
        disks.begin_delete(place.group, place.staging).result()
        self.tell(f"the staging disk {place.staging} is deleted")


def _word(value: object) -> str:
    """What Azure said: the SDK has an enum for the words it knows, and leaves others as they are."""
    return str(value.value if isinstance(value, Enum) else value)


def _path(place: Place) -> tuple[str, str, str]:
    return place.group, place.gallery, place.image


def _tags(disk: Disk) -> dict[str, str]:
    return {DIGEST: disk.digest, VERSION: disk.name.removeprefix("sentry-").removesuffix(".vhd.zst")}


def _as_disk(disk: Disk, place: Place) -> Any:
    """The Compute API's Disk, to be written by an address."""
    return {
        "location": place.regions[0],
        "sku": {"name": "Standard_LRS"},
        "tags": _tags(disk),
        "properties": {
            "osType": "Linux",
            "hyperVGeneration": "V2",
            "creationData": {"createOption": "Upload", "uploadSizeBytes": disk.size},
        },
    }


def _as_definition(place: Place) -> Any:
    """The Compute API's GalleryImage."""
    return {
        "location": place.regions[0],
        "properties": {
            "osType": "Linux",
            "osState": "Generalized",
            "hyperVGeneration": "V2",
            "architecture": "x64",
            "identifier": {"publisher": PUBLISHER, "offer": OFFER, "sku": place.image},
            "features": [{"name": name, "value": value} for name, value in FEATURES],
        },
    }


def _as_version(disk: Disk, place: Place, source: str) -> Any:
    """The Compute API's GalleryImageVersion, of the managed disk with the resource id `source`."""
    return {
        "location": place.regions[0],
        "tags": _tags(disk),
        "properties": {
            "publishingProfile": {
                "targetRegions": [{"name": name, "regionalReplicaCount": 1} for name in place.regions]
            },
            "storageProfile": {"osDiskImage": {"source": {"id": source}, "hostCaching": "ReadOnly"}},
        },
    }
