"""Machine images: DescribeImages, and which image an instance may be launched from. Two are there from the start."""

from dataclasses import dataclass, field
from typing import Any

from eni_lab.aws.engine.errors import Ec2Error, invalid_value
from eni_lab.aws.engine.instance_type import InstanceType
from eni_lab.aws.engine.listing import Filters, select_ids, select_page
from eni_lab.aws.engine.model import Tags
from eni_lab.aws.engine.region import Args, Region, Reply

AMAZON = "137112412989"
"""Account that owns Amazon Linux images."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image anyone may launch."""

    id: str
    name: str
    architecture: str
    tags: Tags = field(default_factory=dict)


IMAGES = {
    image.id: image
    for image in (
        Image("ami-0a0000000000000a1", "al2023-ami-2023.9.20251117.1-kernel-6.12-x86_64", "x86_64"),
        Image("ami-0a0000000000000a2", "al2023-ami-2023.9.20251117.1-kernel-6.12-arm64", "arm64"),
    )
}


def describe_images(region: Region, args: Args) -> Reply:
    """Lists images."""
    rows = select_ids(IMAGES, args.get("ImageIds", []), _not_found)
    owners = args.get("Owners", [])
    rows = {key: image for key, image in rows.items() if not owners or {"amazon", AMAZON} & set(owners)}
    page, token = select_page(region, args, rows, _FILTERS, sizes=(1, 1000))
    return {"Images": [_view(image) for image in page], "NextToken": token}


def require_image(image_id: str, kind: InstanceType) -> Image:
    """Returns an image by id; raises when it is unknown or of another architecture than the type."""
    image = IMAGES.get(image_id)
    if image is None:
        raise _not_found(image_id)
    if image.architecture not in kind.architectures:
        text = f"The architecture '{','.join(kind.architectures)}' of the specified instance type does not match "
        raise invalid_value(f"{text}the architecture '{image.architecture}' of the specified AMI.")
    return image


_UNMODELLED = (
    *(f"block-device-mapping.{name}" for name in ("delete-on-termination", "device-name", "encrypted")),
    *(f"block-device-mapping.{name}" for name in ("snapshot-id", "volume-size", "volume-type")),
    *("creation-date", "description", "kernel-id", "manifest-location", "platform", "product-code"),
    *("product-code.type", "ramdisk-id", "root-device-name", "source-image-id", "source-image-region"),
    *("source-instance-id", "state-reason-code", "state-reason-message", "sriov-net-support"),
    *("free-tier-eligible", "boot-mode", "public-ssm-parameter-name"),
)

_FILTERS: Filters[Image] = {
    **dict.fromkeys(_UNMODELLED, lambda _: None),
    "architecture": lambda image: image.architecture,
    "ena-support": lambda _: True,
    "hypervisor": lambda _: "xen",
    "image-allowed": lambda _: True,
    "image-id": lambda image: image.id,
    "image-type": lambda _: "machine",
    "is-public": lambda _: True,
    "name": lambda image: image.name,
    "owner-alias": lambda _: "amazon",
    "owner-id": lambda _: AMAZON,
    "root-device-type": lambda _: "ebs",
    "state": lambda _: "available",
    "virtualization-type": lambda _: "hvm",
}


def _not_found(image_id: str) -> Ec2Error:
    return Ec2Error("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")


def _view(image: Image) -> dict[str, Any]:
    return {
        "ImageId": image.id,
        "Name": image.name,
        "Architecture": image.architecture,
        "OwnerId": AMAZON,
        "ImageOwnerAlias": "amazon",
        "State": "available",
        "Public": True,
        "ImageType": "machine",
        "EnaSupport": True,
        "Hypervisor": "xen",
        "VirtualizationType": "hvm",
        "RootDeviceType": "ebs",
        "RootDeviceName": "/dev/xvda",
    }
