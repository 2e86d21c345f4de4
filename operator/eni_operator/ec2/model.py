"""Writes the SDK's data cut to the calls we make: ``python -m eni_operator.ec2.model DIRECTORY``, at image build.

The SDK holds all of EC2 in memory (807 operations) and every endpoint of AWS; we use eighteen. With
``AWS_DATA_PATH=DIRECTORY`` the client costs 2 MB of memory instead of 24; without it everything works on the full data.
Reads the installed SDK's files, imports none of it.
"""

import gzip
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

OPERATIONS: Final = {
    "ec2/2016-11-15": (
        "AssignIpv6Addresses",
        "AssignPrivateIpAddresses",
        "AttachNetworkInterface",
        "CreateNetworkInterface",
        "CreateTags",
        "DeleteNetworkInterface",
        "DescribeInstanceTypes",
        "DescribeInstances",
        "DescribeNetworkInterfaces",
        "DescribeSubnets",
        "DescribeVpcs",
        "DetachNetworkInterface",
        "GetSubnetCidrReservations",
        "ModifyNetworkInterfaceAttribute",
        "UnassignPrivateIpAddresses",
    ),
    "sts/2011-06-15": ("AssumeRole", "AssumeRoleWithWebIdentity", "GetCallerIdentity"),
}
"""What stays of each service: our own calls, and what the credentials chain calls."""


def reachable(shapes: dict[str, Any], roots: list[str]) -> set[str]:
    """Returns the names of all shapes that the roots are made of."""
    seen: set[str] = set()
    open_ends = list(roots)
    while open_ends:
        name = open_ends.pop()
        if name in seen:
            continue
        seen.add(name)
        shape = shapes[name]
        parts = [
            *shape.get("members", {}).values(),
            *(shape[part] for part in ("member", "key", "value") if part in shape),
        ]
        open_ends += [part["shape"] for part in parts]
    return seen


def trim_service(service: dict[str, Any], operations: tuple[str, ...]) -> dict[str, Any]:
    """Returns the service model with these operations and their shapes only, without prose."""
    kept = {name: service["operations"][name] for name in operations}
    roots = [
        part["shape"]
        for operation in kept.values()
        for part in (operation.get("input"), operation.get("output"), *operation.get("errors", []))
        if part
    ]
    shapes = {name: service["shapes"][name] for name in sorted(reachable(service["shapes"], roots))}
    trimmed: dict[str, Any] = without_prose({**service, "operations": kept, "shapes": shapes})
    return trimmed


def without_prose(value: Any) -> Any:
    """Returns the value with every ``documentation`` string left out; a shape of that name, a mapping, stays."""
    if isinstance(value, dict):
        return {k: without_prose(v) for k, v in value.items() if not (k == "documentation" and isinstance(v, str))}
    return [without_prose(item) for item in value] if isinstance(value, list) else value


def trim_endpoints(endpoints: dict[str, Any], services: set[str]) -> dict[str, Any]:
    """Returns every partition and Region, with the endpoints of these services only."""
    partitions = [
        {**partition, "services": {name: s for name, s in partition["services"].items() if name in services}}
        for partition in endpoints["partitions"]
    ]
    return {**endpoints, "partitions": partitions}


def _read(path: Path) -> dict[str, Any]:
    packed = path.with_name(path.name + ".gz")
    text = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
    data: dict[str, Any] = json.loads(text)
    return data


def _write(path: Path, data: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, separators=(",", ":")))


def write(destination: Path) -> None:
    """Writes the cut data of the installed SDK below ``destination``."""
    spec = find_spec("botocore")
    if spec is None or spec.origin is None:
        raise SystemExit("the AWS SDK is not installed: install eni-operator[operator]")
    source = Path(spec.origin).parent / "data"
    for service, operations in OPERATIONS.items():
        model = _read(source / service / "service-2.json")
        _write(destination / service / "service-2.json", trim_service(model, operations))
        _write(destination / service / "examples-1.json", {"version": "1.0", "examples": {}})
    services = {service.partition("/")[0] for service in OPERATIONS}
    _write(destination / "endpoints.json", trim_endpoints(_read(source / "endpoints.json"), services))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
