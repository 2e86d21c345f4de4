"""Which ENIConfig a node uses. Decides the name by VPC CNI's order; the pool's own spec comes before all. Pure.

Pool's spec > label ``vpc.amazonaws.com/externalEniConfig`` > annotation > label > ``nodeSelector`` by priority (ours) >
``default`` under custom networking (https://docs.aws.amazon.com/eks/latest/userguide/cni-custom-network-tutorial.html).
What is taken from it is decided by ``planning.sourcing`` (subnets, groups) and ``planning.precedence`` (policy).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from eni_crds.contract import ContractError
from eni_crds.eniconfig import ENIConfig, ENIConfigSpec, LabelOperator, LabelRequirement, LabelSelector
from eni_crds.names import DEFAULT_ENICONFIG, LABEL_EXTERNAL_ENICONFIG
from eni_operator.controllers.kube import KubeObject
from eni_operator.planning.sourcing import Choice


@dataclass(frozen=True, slots=True)
class Keys:
    """Where a node's ENIConfig may be named."""

    annotation: str
    """ENI_CONFIG_ANNOTATION_DEF."""
    label: str
    """ENI_CONFIG_LABEL_DEF."""
    falls_to_default: bool = False
    """True under custom networking: ``default`` is meant where nothing names one."""


def choose(spec_name: str | None, node: KubeObject, configs: Mapping[str, KubeObject], keys: Keys) -> Choice | None:
    """Returns the ENIConfig for a node; None where nothing names one."""
    for name, named_by in _names(spec_name, node, configs, keys):
        if name:
            return _choice(name, named_by, configs.get(name), is_insisted_on=name is spec_name)
    return None


def _names(
    spec_name: str | None, node: KubeObject, configs: Mapping[str, KubeObject], keys: Keys
) -> Iterator[tuple[str | None, str]]:
    metadata = node.get("metadata", {})
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    yield spec_name, "the pool's spec.eniConfig"
    yield labels.get(LABEL_EXTERNAL_ENICONFIG), f"the node's label {LABEL_EXTERNAL_ENICONFIG}"
    yield annotations.get(keys.annotation), f"the node's annotation {keys.annotation}"
    yield labels.get(keys.label), f"the node's label {keys.label}"
    yield _selected(labels, configs), "its own spec.nodeSelector"
    if keys.falls_to_default:
        yield DEFAULT_ENICONFIG, "custom networking, for nothing names another"


def _selected(labels: Mapping[str, str], configs: Mapping[str, KubeObject]) -> str | None:
    """Returns the ENIConfig of the highest priority whose selector fits; the first by name among equals."""
    fitting = [
        (-(spec.priority or 0), name)
        for name, found in configs.items()
        if (found.get("spec") or {}).get("nodeSelector") is not None
        and (spec := _read(found)[0]) is not None
        and spec.node_selector is not None
        and matches(spec.node_selector, labels)
    ]
    return min(fitting)[1] if fitting else None


def matches(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Tells whether a label selector fits, as Kubernetes reads it."""
    wanted = all(labels.get(key) == value for key, value in selector.match_labels.items())
    return wanted and all(_meets(requirement, labels) for requirement in selector.match_expressions)


def _meets(requirement: LabelRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case LabelOperator.IN:
            return value in requirement.values
        case LabelOperator.NOT_IN:
            return value not in requirement.values
        case LabelOperator.EXISTS:
            return value is not None
        case LabelOperator.DOES_NOT_EXIST:
            return value is None


def _choice(name: str, named_by: str, found: KubeObject | None, *, is_insisted_on: bool) -> Choice:
    if found is None:
        return Choice(name, named_by, None, "does not exist", is_insisted_on=is_insisted_on)
    spec, problem = _read(found)
    return Choice(name, named_by, spec, problem, is_unreadable=spec is None, is_insisted_on=is_insisted_on)


def _read(found: KubeObject) -> tuple[ENIConfigSpec | None, str]:
    """Returns the spec, or why it cannot be read: VPC CNI's own definition of the kind checks less than ours."""
    try:
        return ENIConfig.parse({"spec": found.get("spec") or {}}).spec, ""
    except ContractError as error:
        return None, f"cannot be read: {error}"
