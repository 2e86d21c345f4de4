"""VPC CNI's variables that shape a pool, as the weakest level of policy people can set.

Decides what each asks for. Which level wins is ``planning.precedence``'s, what goes together is
``settings.combinations``'s.
"""

from eni_crds.nodeippool import Family, Mode
from eni_operator.domain.policy import EnvironmentPolicy
from eni_operator.settings.parsing import at_least, boolean
from eni_operator.settings.reader import Reader


def environment_policy(reader: Reader) -> EnvironmentPolicy:
    """Returns what the environment asks of a pool; None where it asks nothing."""
    prefixes = reader.lenient("ENABLE_PREFIX_DELEGATION", boolean)
    return EnvironmentPolicy(
        mode=None if prefixes is None else Mode.PREFIX if prefixes else Mode.SECONDARY,
        warm_ips=reader.lenient("WARM_IP_TARGET", at_least(0)),
        minimum_ips=reader.lenient("MINIMUM_IP_TARGET", at_least(0)),
        warm_prefixes=reader.lenient("WARM_PREFIX_TARGET", at_least(0)),
        warm_enis=reader.lenient("WARM_ENI_TARGET", at_least(0)),
        maximum_enis=reader.lenient("MAX_ENI", at_least(1)),
        cooldown_seconds=reader.strict("IP_COOLDOWN_PERIOD", at_least(0), None),
        families=families(reader),
        provisioning=provisioning(reader),
    )


def families(reader: Reader) -> tuple[Family, ...] | None:
    """Returns the families asked for, none at all when both are refused; None when neither variable is set.

    ENABLE_IPv4 alone unset is the opposite of ENABLE_IPv6, so that ENABLE_IPv6 alone means IPv6 only, as in VPC CNI.
    """
    ipv4, ipv6 = reader.lenient("ENABLE_IPv4", boolean), reader.lenient("ENABLE_IPv6", boolean)
    if ipv4 is None and ipv6 is None:
        return None
    asked = {Family.IPV4: not ipv6 if ipv4 is None else ipv4, Family.IPV6: bool(ipv6)}
    return tuple(family for family, wanted in asked.items() if wanted)


def provisioning(reader: Reader) -> bool:
    """Tells whether anything may be changed in EC2."""
    return not (imds_only(reader) or reader.flag("DISABLE_NETWORK_RESOURCE_PROVISIONING", default=False))


def imds_only(reader: Reader) -> bool:
    """Tells whether the metadata service is the only source about the node's ENIs."""
    return reader.flag("ENABLE_IMDS_ONLY_MODE", default=False)


def sweeping(reader: Reader) -> bool:
    """Tells whether leaked ENIs are looked for: not where nothing may be changed, and not for IPv6 alone (VPC CNI)."""
    off = reader.flag("DISABLE_LEAKED_ENI_CLEANUP", default=False)
    return not off and provisioning(reader) and families(reader) != (Family.IPV6,)


def custom_networking(reader: Reader) -> bool:
    """Tells whether pods take their addresses from ENIConfigs only."""
    return reader.flag("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", default=False)
