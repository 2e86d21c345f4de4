"""Which ENIConfig a node uses. Decides the name by VPC CNI's order; the pool's own spec comes before all. Pure.

https://docs.aws.amazon.com/eks/latest/userguide/cni-custom-network-tutorial.html
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from eni_crds.eniconfig import ENIConfig
from eni_crds.names import LABEL_EXTERNAL_ENICONFIG
from eni_operator.controllers.kube import KubeObject


@dataclass(frozen=True, slots=True)
class Choice:
    """The ENIConfig named for a node, and by what."""

    name: str
    named_by: str
    config: ENIConfig | None
    """None where there is none of that name, or what there is cannot be read."""
    problem: str = ""
    """Why there is no ``config``."""


def choose(
    spec_name: str | None, node: KubeObject, configs: Mapping[str, KubeObject], *, annotation: str, label: str
) -> Choice | None:
    """Returns the ENIConfig for a node; None where nothing names one."""
    metadata = node.get("metadata", {})
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    candidates = (
        (spec_name, "the pool's spec.eniConfig"),
        (labels.get(LABEL_EXTERNAL_ENICONFIG), f"the node's label {LABEL_EXTERNAL_ENICONFIG}"),
        (annotations.get(annotation), f"the node's annotation {annotation}"),
        (labels.get(label), f"the node's label {label}"),
    )
    for name, named_by in candidates:
        if name:
            return _choice(name, named_by, configs.get(name))
    return None


def _choice(name: str, named_by: str, found: KubeObject | None) -> Choice:
    if found is None:
        return Choice(name, named_by, None, "does not exist")
    try:
        return Choice(name, named_by, ENIConfig.model_validate(found))
    except ValidationError as error:  # written under VPC CNI's definition, which checks less than ours
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        return Choice(name, named_by, None, f"cannot be read: {field}: {first['msg']}")
