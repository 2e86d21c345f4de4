"""Which EC2 instance a node is, from Node.spec.providerID. Where that names none, ``inventory.metadata`` is asked."""

import re
from typing import Final

from eni_operator.controllers.kube import KubeObject
from eni_operator.domain.eni import InstanceId

_PROVIDER_ID: Final = re.compile(r"^aws://(?:/[^/]*)?/(i-[0-9a-f]+)$")


def instance_of(node: KubeObject) -> InstanceId | None:
    """Returns the instance a Node names: ``aws:///eu-west-1a/i-0123456789abcdef0``; None where it names none."""
    found = _PROVIDER_ID.match(node.get("spec", {}).get("providerID", ""))
    return InstanceId(found.group(1)) if found else None
