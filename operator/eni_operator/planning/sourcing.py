"""Where a node's new ENIs come from: subnets, security groups; and which of its ENIs pods must leave because of it.

Decides which subnets are candidates, why one is not, and what is asked of EC2 to know. Asks nothing itself
(``inventory.subnets`` does), does not say which candidate is next (``planning.subnet_choice``) or how much is taken.
VPC CNI's rules: https://github.com/aws/amazon-vpc-cni-k8s#readme, custom networking and ENABLE_SUBNET_DISCOVERY.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from eni_crds.conditions import Reason
from eni_crds.eniconfig import ENIConfigSpec, SubnetPolicy
from eni_crds.names import TAG_SUBNET_CLUSTER_PREFIX, TAG_SUBNET_ROLE
from eni_operator.domain.eni import Eni, EniId, SecurityGroupId, SubnetId
from eni_operator.domain.instance import Instance, Subnet
from eni_operator.domain.pool import Obstacle

PRIMARY_EXCLUDED: Final = "custom networking leaves the primary ENI to the node itself"


@dataclass(frozen=True, slots=True)
class Rules:
    """What the environment says of where ENIs come from."""

    custom_networking: bool = False
    """AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG."""
    subnet_discovery: bool = True
    """ENABLE_SUBNET_DISCOVERY."""
    cluster_name: str = ""
    """CLUSTER_NAME: a subnet named after other clusters only is not ours."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The ENIConfig named for a node, and by what."""

    name: str
    named_by: str
    config: ENIConfigSpec | None
    """None where there is none of that name, or what there is cannot be read."""
    problem: str = ""
    """Why there is no ``config``."""
    is_unreadable: bool = False
    """True: it is there, but cannot be read."""
    is_insisted_on: bool = False
    """True: the pool's own spec names it, so its absence matters even where its subnets would not be used."""


@dataclass(frozen=True, slots=True)
class Question:
    """Which subnets to ask EC2 for: those of these ids, or those of the VPC in a zone with these tags."""

    ids: tuple[SubnetId, ...] = ()
    zone: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """The answer: what goes into the ``World``."""

    candidates: tuple[SubnetId, ...]
    security_groups: tuple[SecurityGroupId, ...]
    groups_follow: bool
    """True: ENIs that are attached already get these groups too."""
    subnet_policy: SubnetPolicy
    obstacle: Obstacle | None
    excluded: Mapping[EniId, str]


def uses_config(rules: Rules, choice: Choice | None) -> bool:
    """Tells whether subnets and groups come from the ENIConfig: under custom networking, or where it lists several.

    One with ``subnet`` alone is left unused without custom networking, as VPC CNI does: such manifests lie around.
    """
    listed = choice is not None and choice.config is not None and choice.config.subnets is not None
    return rules.custom_networking or listed


def question(rules: Rules, choice: Choice | None, instance: Instance) -> Question:
    """Returns what to ask EC2; a question without ids and zone needs no answer."""
    config = choice.config if choice is not None else None
    if uses_config(rules, choice):
        return _asked_of(config, instance) if config is not None else Question()
    if rules.subnet_discovery:
        return Question(zone=instance.zone)
    return Question(ids=(instance.subnet_id,))


def _asked_of(config: ENIConfigSpec, instance: Instance) -> Question:
    if config.subnets is not None and not config.subnets.ids:
        return Question(zone=instance.zone, tags=config.subnets.tags)
    listed = config.subnets.ids if config.subnets is not None else [config.subnet] if config.subnet else []
    return Question(ids=tuple(SubnetId(subnet_id) for subnet_id in listed))


def source(
    rules: Rules,
    choice: Choice | None,
    instance: Instance,
    found: tuple[Subnet, ...],
    enis: Iterable[Eni] = (),
    known: Mapping[SubnetId, Subnet] | None = None,
) -> Source:
    """Returns where new ENIs come from.

    Args:
        rules: the environment's.
        choice: the ENIConfig named for the node, if any.
        instance: where the ENIs go.
        found: EC2's answer to ``question``; of ids that do not exist there is nothing.
        enis: what is on the instance, to tell which of it is excluded.
        known: every subnet known, for the tags of those the ENIs are in.
    """
    config = choice.config if choice is not None else None
    candidates, obstacle = _candidates(rules, choice, instance, found)
    own = config is not None and uses_config(rules, choice) and bool(config.security_groups)
    groups = tuple(SecurityGroupId(g) for g in config.security_groups) if own and config else instance.security_groups
    return Source(
        candidates=candidates,
        security_groups=groups,
        groups_follow=own or not rules.custom_networking,
        subnet_policy=(config.subnet_policy if config is not None else None) or SubnetPolicy.MOST_FREE,
        obstacle=obstacle,
        excluded=_excluded(rules, enis, known or {}),
    )


def _candidates(
    rules: Rules, choice: Choice | None, instance: Instance, found: tuple[Subnet, ...]
) -> tuple[tuple[SubnetId, ...], Obstacle | None]:
    if not uses_config(rules, choice):
        candidates, obstacle = _of_the_vpc(rules, instance, found)
        absent = choice is not None and choice.config is None and (choice.is_insisted_on or choice.is_unreadable)
        return candidates, obstacle or (_unusable(choice) if absent else None)
    if choice is None or choice.config is None:
        return (), _unusable(choice)
    asked = _asked_of(choice.config, instance)
    if not asked.ids and choice.config.subnets is None:
        return (), Obstacle(Reason.ENICONFIG_INVALID, f"ENIConfig {choice.name!r} names no subnet: set spec.subnet")
    return _of_the_config(choice.name, choice.config, asked, instance, found)


def _unusable(choice: Choice | None) -> Obstacle:
    if choice is None:
        return Obstacle(Reason.ENICONFIG_MISSING, "custom networking is on and no ENIConfig is named for this node")
    reason = Reason.ENICONFIG_INVALID if choice.is_unreadable else Reason.ENICONFIG_MISSING
    return Obstacle(reason, f"ENIConfig {choice.name!r}, named by {choice.named_by}, {choice.problem}")


def _of_the_vpc(
    rules: Rules, instance: Instance, found: tuple[Subnet, ...]
) -> tuple[tuple[SubnetId, ...], Obstacle | None]:
    usable = tuple(subnet.id for subnet in found if _is_welcome(subnet, rules, primary=instance.subnet_id))
    if usable:
        return usable, None
    where = f"in {instance.zone}" if rules.subnet_discovery else f"but {instance.subnet_id}"
    message = (
        f"no subnet {where} may be used: each is tagged {TAG_SUBNET_ROLE}=0, not tagged for pods, or another cluster's"
    )
    return (), Obstacle(Reason.NO_SUBNET, message)


def _is_welcome(subnet: Subnet, rules: Rules, *, primary: SubnetId) -> bool:
    """The primary's subnet is used unless it is tagged out; every other one must be tagged in."""
    role = subnet.tags.get(TAG_SUBNET_ROLE, "")
    if not role:
        return subnet.id == primary
    return role != "0" and _is_of_cluster(subnet, rules)


def _is_of_cluster(subnet: Subnet, rules: Rules) -> bool:
    named = {key for key in subnet.tags if key.startswith(TAG_SUBNET_CLUSTER_PREFIX)}
    return not rules.cluster_name or not named or f"{TAG_SUBNET_CLUSTER_PREFIX}{rules.cluster_name}" in named


def _of_the_config(
    name: str, config: ENIConfigSpec, asked: Question, instance: Instance, found: tuple[Subnet, ...]
) -> tuple[tuple[SubnetId, ...], Obstacle | None]:
    zones = config.subnets.zones if config.subnets is not None else []
    by_id = {subnet.id: subnet for subnet in found if subnet.vpc_id in ("", instance.vpc_id)}
    unknown = [subnet_id for subnet_id in asked.ids if subnet_id not in by_id]
    listed = [by_id[subnet_id] for subnet_id in asked.ids or sorted(by_id) if subnet_id in by_id]
    here = tuple(s.id for s in listed if s.zone == instance.zone and (not zones or s.zone in zones))
    if unknown:
        message = f"ENIConfig {name!r} names {', '.join(unknown)}, which {instance.vpc_id} does not have"
        return here, Obstacle(Reason.UNKNOWN_SUBNET, message)
    if here:
        return here, None
    return (), _nothing_here(name, listed, instance, zones)


def _nothing_here(name: str, listed: list[Subnet], instance: Instance, zones: list[str]) -> Obstacle:
    if not listed and instance.zone not in (zones or [instance.zone]):
        message = f"ENIConfig {name!r} has subnets in {', '.join(zones)} only, the node is in {instance.zone}"
        return Obstacle(Reason.WRONG_ZONE, message)
    if not listed:
        message = f"ENIConfig {name!r} selects no subnet of {instance.vpc_id} in {instance.zone}"
        return Obstacle(Reason.NO_SUBNET, message)
    where = ", ".join(f"{subnet.id} in {subnet.zone}" for subnet in listed)
    return Obstacle(Reason.WRONG_ZONE, f"ENIConfig {name!r} has {where}, the node is in {instance.zone}")


def _excluded(rules: Rules, enis: Iterable[Eni], known: Mapping[SubnetId, Subnet]) -> dict[EniId, str]:
    """Returns the ENIs pods must leave: the primary under custom networking, and those in a subnet tagged out."""
    reasons: dict[EniId, str] = {}
    for eni in enis:
        if eni.is_primary and rules.custom_networking:
            reasons[eni.id] = PRIMARY_EXCLUDED
        elif why := _tagged_out(known.get(eni.subnet_id), rules):
            reasons[eni.id] = why
    return reasons


def _tagged_out(subnet: Subnet | None, rules: Rules) -> str:
    """Only subnet discovery looks at the tags of subnets that are in use."""
    if subnet is None or rules.custom_networking or not rules.subnet_discovery:
        return ""
    role = subnet.tags.get(TAG_SUBNET_ROLE, "")
    if role == "0":
        return f"its subnet {subnet.id} is tagged {TAG_SUBNET_ROLE}=0"
    if role and not _is_of_cluster(subnet, rules):
        return f"its subnet {subnet.id} is tagged for other clusters than {rules.cluster_name!r}"
    return ""


def replaced(name: str, source: Source, enis: Iterable[Eni], *, ours: frozenset[EniId]) -> dict[EniId, str]:
    """Returns our secondary ENIs that a former ENIConfig put where the present one has no subnet, and why.

    For ``drainOnChange``; nothing where the present one is itself in doubt.
    """
    if source.obstacle is not None or not source.candidates:
        return {}
    return {
        eni.id: f"its subnet {eni.subnet_id} is not one of ENIConfig {name!r}"
        for eni in enis
        if eni.id in ours and not eni.is_primary and eni.subnet_id not in source.candidates
    }
