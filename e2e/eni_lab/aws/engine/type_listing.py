"""DescribeInstanceTypes, served from the table the engine was given."""

from typing import Any

from eni_lab.aws.engine.errors import Ec2Error, invalid_combination
from eni_lab.aws.engine.instance_type import InstanceType
from eni_lab.aws.engine.listing import Filters, select_ids, select_page
from eni_lab.aws.engine.region import Args, Region, Reply


def describe_instance_types(region: Region, args: Args) -> Reply:
    """Lists instance types, at most 100 by name or a page."""
    names = args.get("InstanceTypes", [])
    if len(names) > 100:
        raise invalid_combination(f"The number of instance types is {len(names)}, at most 100 may be named.")
    rows = select_ids(region.types, names, _not_found)
    size = args.get("MaxResults", None if names else 100)
    page, token = select_page(region, {**args, "MaxResults": size}, rows, _FILTERS, sizes=(5, 100))
    return {"InstanceTypes": [_view(kind) for kind in page], "NextToken": token}


_FILTERS: Filters[InstanceType] = {
    "bare-metal": lambda kind: kind.bare_metal,
    "current-generation": lambda _: True,
    "hypervisor": lambda kind: kind.hypervisor or None,
    "instance-type": lambda kind: kind.name,
    "memory-info.size-in-mib": lambda kind: kind.memory_mib,
    "network-info.efa-supported": lambda kind: kind.efa,
    "network-info.ipv4-addresses-per-interface": lambda kind: kind.ipv4_per_eni,
    "network-info.ipv6-addresses-per-interface": lambda kind: kind.ipv6_per_eni,
    "network-info.ipv6-supported": lambda kind: kind.ipv6_per_eni > 0,
    "network-info.maximum-network-cards": lambda kind: len(kind.cards),
    "network-info.maximum-network-interfaces": lambda kind: kind.maximum_enis,
    "processor-info.supported-architecture": lambda kind: kind.architectures,
    "vcpu-info.default-vcpus": lambda kind: kind.vcpus,
}
"""Filters about disks, accelerators and prices are not modelled and are refused as invalid."""


def _not_found(name: str) -> Ec2Error:
    return Ec2Error("InvalidInstanceType", f"The following supplied instance types do not exist: [{name}]")


def _view(kind: InstanceType) -> dict[str, Any]:
    return {
        "InstanceType": kind.name,
        "CurrentGeneration": True,
        "BareMetal": kind.bare_metal,
        "Hypervisor": kind.hypervisor or None,
        "ProcessorInfo": {"SupportedArchitectures": list(kind.architectures)},
        "VCpuInfo": {"DefaultVCpus": kind.vcpus},
        "MemoryInfo": {"SizeInMiB": kind.memory_mib},
        "NetworkInfo": _network_view(kind),
    }


def _network_view(kind: InstanceType) -> dict[str, Any]:
    return {
        "MaximumNetworkInterfaces": kind.maximum_enis,
        "MaximumNetworkCards": len(kind.cards),
        "DefaultNetworkCardIndex": kind.default_card,
        "NetworkCards": [
            {"NetworkCardIndex": index, "MaximumNetworkInterfaces": enis} for index, enis in enumerate(kind.cards)
        ],
        "Ipv4AddressesPerInterface": kind.ipv4_per_eni,
        "Ipv6AddressesPerInterface": kind.ipv6_per_eni,
        "Ipv6Supported": kind.ipv6_per_eni > 0,
        "EfaSupported": kind.efa,
        "EfaInfo": {"MaximumEfaInterfaces": len(kind.cards)} if kind.efa else None,
    }
