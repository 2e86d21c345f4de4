"""VPC CNI's four introspection pages, with its shapes, from supply and ledger. Pure: values in, JSON objects out.

Decides what each field means here; ``tests/eni_node_agent/introspection/golden`` holds the shapes. Pods' container ids
are left blank, as there since v1.23.0: whoever can reach the page learns which pod has which address, and no more.
Source: https://github.com/aws/amazon-vpc-cni-k8s (v1.23.1), ``pkg/ipamd/introspect.go`` and ``datastore``.
"""

import base64
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Any, Final, NamedTuple

from eni_crds.nodeippool import SERVING_ROLES, EniRole, Supply, SupplyEni
from eni_node_agent.network.desired import table_of
from eni_node_agent.settings import Settings

ENIS: Final = "/v1/enis"
ENI_CONFIGS: Final = "/v1/eni-configs"
NETWORK_SETTINGS: Final = "/v1/networkutils-env-settings"
POOL_SETTINGS: Final = "/v1/ipamd-env-settings"
PATHS: Final = (ENIS, ENI_CONFIGS, NETWORK_SETTINGS, POOL_SETTINGS)
_NEVER: Final = "0001-01-01T00:00:00Z"
"""Go's zero time."""
_RANDOM: Final = {"none": 0, "hashrandom": 1, "prng": 2}


class Held(NamedTuple):
    """An address a pod holds, or one that cools."""

    address: str
    network: str = ""
    pod_namespace: str = ""
    pod_name: str = ""
    assigned_at: float | None = None
    """Unix time; None: not assigned."""
    released_at: float | None = None
    """Unix time; None: assigned, or never released."""
    interfaces: int = 1
    """Of the pod."""


def commands() -> dict[str, Any]:
    """Returns the body of ``/`` and of every unknown path."""
    return {"AvailableCommands": list(PATHS)}


def enis(supply: Supply | None, held: Iterable[Held]) -> dict[str, Any]:
    """Returns the body of ``/v1/enis``: by network card, its ENIs, their CIDRs, and the addresses in use."""
    by_cidr: dict[str, list[Held]] = {}
    for each in held:
        for length in (32, 28) if ip_address(each.address).version == 4 else (128, 80):
            by_cidr.setdefault(str(ip_network(f"{each.address}/{length}", strict=False)), []).append(each)
    serving = [eni for eni in supply.enis if eni.role in SERVING_ROLES] if supply else []
    cards = sorted({0, *(eni.network_card for eni in serving)})
    return {str(card): _card([eni for eni in serving if eni.network_card == card], by_cidr) for card in cards}


def eni_config(supply: Supply) -> str:
    """Returns the body of ``/v1/eni-configs``: the name of this node's ENIConfig."""
    return supply.eni_config or "default"


def network_settings(settings: Settings) -> dict[str, Any]:
    """Returns the body of ``/v1/networkutils-env-settings``."""
    return {
        "AWS_VPC_K8S_CNI_CONNMARK": settings.connmark,
        "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS": list(settings.exclude_snat_cidrs) or None,
        "AWS_VPC_K8S_CNI_EXTERNALSNAT": settings.external_snat,
        "AWS_EXTERNAL_SERVICE_CIDRS": list(settings.external_service_cidrs) or None,
        "AWS_VPC_ENI_MTU": settings.eni_mtu,
        "AWS_VPC_K8S_CNI_VETHPREFIX": settings.veth_prefix,
        "AWS_VPC_CNI_NODE_PORT_SUPPORT": settings.node_port_support,
        "AWS_VPC_K8S_CNI_RANDOMIZESNAT": _RANDOM[settings.snat_ports],
    }


def pool_settings(supply: Supply | None) -> dict[str, Any]:
    """Returns the body of ``/v1/ipamd-env-settings``.

    The targets are those in force, whichever level set them; the last two are the operator's alone, so null.
    """
    policy = supply.policy if supply else {}
    targets = {name: policy[key].value if key in policy else 0 for name, key in _TARGETS.items()}
    return {
        **targets,
        "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG": bool(supply and supply.eni_config),
        "AWS_MANAGE_ENIS_NON_SCHEDULABLE": None,
        "ENABLE_SUBNET_DISCOVERY": None,
    }


_TARGETS: Final = {"WARM_IP_TARGET": "warmIPs", "WARM_ENI_TARGET": "warmENIs"}


def _card(enis_of_card: list[SupplyEni], held: Mapping[str, list[Held]]) -> dict[str, Any]:
    dumped = {eni.id: _eni(eni, held) for eni in enis_of_card}
    total = sum(len(eni.addresses) + 16 * len(eni.prefixes) for eni in enis_of_card)
    # One family is counted, as pods of a dual-stack pool have an address of each.
    assigned = _assigned(dumped, "AvailableIPv4Cidrs") or _assigned(dumped, "IPv6Cidrs")
    return {"TotalIPs": total, "AssignedIPs": assigned, "ENIs": dumped}


def _assigned(dumped: Mapping[str, Any], family: str) -> int:
    cidrs = (cidr for eni in dumped.values() for cidr in eni[family].values())
    return sum(1 for cidr in cidrs for address in cidr["IPAddresses"].values() if address["IPAMKey"]["networkName"])


def _eni(eni: SupplyEni, held: Mapping[str, list[Held]]) -> dict[str, Any]:
    singles = {f"{address}/32": _cidr(f"{address}/32", held, is_prefix=False) for address in eni.addresses}
    return {
        "ID": eni.id,
        "IsPrimary": eni.role is EniRole.PRIMARY,
        "IsTrunk": eni.role is EniRole.TRUNK,
        "IsEFA": eni.role is EniRole.EFA,
        "DeviceNumber": eni.device_index,
        "AvailableIPv4Cidrs": singles | {prefix: _cidr(prefix, held, is_prefix=True) for prefix in eni.prefixes},
        "IPv6Cidrs": {prefix: _cidr(prefix, held, is_prefix=True) for prefix in eni.ipv6_prefixes},
        "IsExcludedForPodIPs": eni.excluded is not None,
        "RouteTableID": table_of(eni),
        "SubnetID": eni.subnet_id,
    }


def _cidr(cidr: str, held: Mapping[str, list[Held]], *, is_prefix: bool) -> dict[str, Any]:
    network = ip_network(cidr)
    found = held.get(str(network), [])
    if not is_prefix and not found:
        found = [Held(str(network.network_address))]
    return {
        "Cidr": {"IP": str(network.network_address), "Mask": base64.b64encode(network.netmask.packed).decode()},
        "IPAddresses": {each.address: _address(each) for each in found},
        "IsPrefix": is_prefix,
        "AddressFamily": "",
    }


def _address(held: Held) -> dict[str, Any]:
    pod = {"k8sPodNamespace": held.pod_namespace, "k8sPodName": held.pod_name}
    metadata: dict[str, Any] = {key: value for key, value in pod.items() if value}
    if held.assigned_at is not None:
        metadata["interfacesCount"] = held.interfaces
    return {
        "Address": held.address,
        "IPAMKey": {"networkName": held.network, "containerID": "", "ifName": ""},
        "IPAMMetadata": metadata,
        "AssignedTime": _time(held.assigned_at),
        "UnassignedTime": _time(held.released_at),
    }


def _time(at: float | None) -> str:
    return (
        _NEVER if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    )
