"""Makes ``data/instance_types.json`` from moto's DescribeInstanceTypes; run it to renew the types."""

import gzip
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

SOURCE = ("ec2", "resources", "instance_types.json.gz")
TARGET = Path(__file__).parent / "data" / "instance_types.json"


def row(info: dict[str, Any]) -> list[Any]:
    """Cuts one InstanceTypeInfo to what the stand-in serves, in the order ``instance_types`` reads."""
    network = info["NetworkInfo"]
    return [
        info["InstanceType"],
        info.get("Hypervisor", ""),
        info["VCpuInfo"]["DefaultVCpus"],
        info["MemoryInfo"]["SizeInMiB"],
        "/".join(info["ProcessorInfo"]["SupportedArchitectures"]),
        network["MaximumNetworkInterfaces"],
        network["Ipv4AddressesPerInterface"],
        network["Ipv6AddressesPerInterface"],
        int(network["EfaSupported"]),
        network["DefaultNetworkCardIndex"],
        [card["MaximumNetworkInterfaces"] for card in network["NetworkCards"]],
    ]


def main() -> None:
    """Writes the table, one type a line so that a renewal can be read as a diff."""
    types = json.loads(gzip.decompress(files("moto").joinpath(*SOURCE).read_bytes()))
    lines = [json.dumps(row(types[name]), separators=(",", ":")) for name in sorted(types)]
    TARGET.write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
