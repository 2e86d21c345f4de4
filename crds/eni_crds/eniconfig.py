"""ENIConfig: where a group of nodes takes its ENIs from. AWS's own kind, with more in it.

Every manifest VPC CNI accepts is accepted: ``subnet`` and ``securityGroups`` as a list of ids. Our additions are
optional. ``crds/eniconfigs.yaml`` is generated from here by ``eni_crds.schema``.
"""

from typing import Annotated, Any

from pydantic import Field

from eni_crds.nodeippool import Condition, Contract, PolicySpec

SubnetId = Annotated[str, Field(pattern=r"^subnet-([0-9a-f]{8}|[0-9a-f]{17})$")]
SecurityGroupId = Annotated[str, Field(pattern=r"^sg-([0-9a-f]{8}|[0-9a-f]{17})$")]


class ENIConfigSpec(Contract):
    """People's part. ``subnet`` and ``securityGroups`` mean what they mean to VPC CNI."""

    subnet: SubnetId | None = None
    security_groups: list[SecurityGroupId] = []
    policy: PolicySpec = PolicySpec()
    """Pool policy for nodes that use this ENIConfig; the NodeIPPool's own spec wins."""
    tags: dict[str, str] = {}
    """Extra tags on every ENI made from here."""


class ENIConfigStatus(Contract):
    """What the operator knows of the subnets."""

    conditions: list[Condition] = []


class ENIConfig(Contract):
    """The whole object."""

    metadata: dict[str, Any] = {}
    spec: ENIConfigSpec = ENIConfigSpec()
    status: ENIConfigStatus = ENIConfigStatus()
