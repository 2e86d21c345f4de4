"""Decides what the host's network must look like for a supply: links, addresses, routes, rules, sysctls, firewall.

Pure: supply, settings, the links found by MAC and the links of pods come in, a value goes out. Does not read or change
the kernel (``host``). The routes to pods are written by the CNI plugin, pod by pod; here is only that they must stay.

``items`` says what can be asked for, ``numbers`` which tables, priorities and ranges are ours, ``state`` puts together
what ``ipv4``, ``ipv6`` and ``firewall`` ask for. ``docs/datapath.md`` walks the packets through.
"""

from eni_node_agent.network.desired.items import (
    PODS,
    SHARED,
    Address,
    Egress,
    Firewall,
    HostState,
    Item,
    LinkSetting,
    ReversePath,
    Route,
    Rule,
    Snat,
    SnatPorts,
    Sysctl,
)
from eni_node_agent.network.desired.numbers import (
    EGRESS_CIDRS,
    ENI_SOURCE_PRIORITY,
    EXTERNAL_SERVICE_PRIORITY,
    LOCAL_TABLE,
    LOOSE_REVERSE_PATH,
    MAIN_TABLE,
    MARK_PRIORITY,
    POD_PRIORITY,
    POD_SOURCE_PRIORITY,
    POD_TABLE,
    table_of,
)
from eni_node_agent.network.desired.settings import NetworkSettings
from eni_node_agent.network.desired.state import desired

__all__ = [
    "EGRESS_CIDRS",
    "ENI_SOURCE_PRIORITY",
    "EXTERNAL_SERVICE_PRIORITY",
    "LOCAL_TABLE",
    "LOOSE_REVERSE_PATH",
    "MAIN_TABLE",
    "MARK_PRIORITY",
    "PODS",
    "POD_PRIORITY",
    "POD_SOURCE_PRIORITY",
    "POD_TABLE",
    "SHARED",
    "Address",
    "Egress",
    "Firewall",
    "HostState",
    "Item",
    "LinkSetting",
    "NetworkSettings",
    "ReversePath",
    "Route",
    "Rule",
    "Snat",
    "SnatPorts",
    "Sysctl",
    "desired",
    "table_of",
]
