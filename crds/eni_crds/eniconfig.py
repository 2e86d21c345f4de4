"""ENIConfig: where a group of nodes takes its ENIs from. AWS's own kind, with more in it.

Every manifest VPC CNI accepts is accepted: ``subnet`` and ``securityGroups`` as a list of ids. Our additions are
optional. ``crds/eniconfigs.yaml`` is generated from here by ``eni_crds.schema``.
"""

from enum import StrEnum
from typing import Annotated, Any

from msgspec import Meta

from eni_crds.contract import Contract
from eni_crds.nodeippool import Condition, PolicySpec, Snat, SupplySubnet

SubnetId = Annotated[str, Meta(pattern=r"^subnet-([0-9a-f]{8}|[0-9a-f]{17})$")]
SecurityGroupId = Annotated[str, Meta(pattern=r"^sg-([0-9a-f]{8}|[0-9a-f]{17})$")]


class SubnetPolicy(StrEnum):
    """Which of several subnets the next ENI comes from; one that refused is skipped meanwhile."""

    MOST_FREE = "mostFree"
    """The one with the most free addresses."""
    ORDERED = "ordered"
    """The first of the list that has enough for the next ENI."""
    PACKED = "packed"
    """The one with the fewest free addresses that still has enough."""


class SubnetSelector(Contract, frozen=True):
    """Subnets by id, or by tag and zone. Of what is selected a node uses the subnets in its own zone."""

    ids: list[SubnetId] = []
    """In the order of ``subnetPolicy: ordered``."""
    tags: dict[str, str] = {}
    """All must be on the subnet; an empty value matches any."""
    zones: list[str] = []
    """Availability Zones by name; every zone otherwise."""


class LabelOperator(StrEnum):
    """As in Kubernetes' label selectors."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class LabelRequirement(Contract, frozen=True):
    """One requirement of a label selector (metav1.LabelSelectorRequirement)."""

    key: str
    operator: LabelOperator
    values: list[str] = []


class LabelSelector(Contract, frozen=True):
    """Nodes by label (metav1.LabelSelector); an empty one selects every node."""

    match_labels: dict[str, str] = {}
    match_expressions: list[LabelRequirement] = []


class ENIConfigSpec(Contract, frozen=True):
    """People's part. ``subnet`` and ``securityGroups`` mean what they mean to VPC CNI."""

    subnet: SubnetId | None = None
    """The one subnet, under custom networking (AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG)."""
    security_groups: list[SecurityGroupId] = []
    """Groups of every ENI made from here; the primary ENI's otherwise."""
    subnets: SubnetSelector | None = None
    """Several subnets. Without custom networking the primary ENI goes on serving pods beside them."""
    subnet_policy: SubnetPolicy | None = None
    """Which of the subnets the next ENI comes from; mostFree where it is not set."""
    node_selector: LabelSelector | None = None
    """Nodes that use this ENIConfig when neither pool nor label nor annotation names one."""
    priority: int | None = None
    """Of several whose selectors match the highest counts, 0 where it is not set; among equals the first by name."""
    policy: PolicySpec = PolicySpec()
    """Pool policy for nodes that use this ENIConfig; the NodeIPPool's own spec wins."""
    tags: Annotated[dict[str, str], Meta(max_length=40)] = {}
    """Extra tags on every ENI made from here; EC2 takes 50 in all."""
    snat: Snat | None = None
    """Translation for nodes that use this ENIConfig."""


class ENIConfigStatus(Contract, frozen=True):
    """What the leading operator knows of it."""

    nodes: int | None = None
    """Nodes that use this ENIConfig."""
    subnet_count: int | None = None
    free: int | None = None
    """Free addresses of all its subnets."""
    subnets: list[SupplySubnet] = []
    """As the nodes have them: free counts when last asked, the latest back-off of any."""
    conditions: list[Condition] = []


class ENIConfig(Contract, frozen=True):
    """The whole object."""

    metadata: dict[str, Any] = {}
    spec: ENIConfigSpec = ENIConfigSpec()
    status: ENIConfigStatus = ENIConfigStatus()
