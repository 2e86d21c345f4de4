"""What does not go together, and what this release does not have: one sentence each, naming every variable in it.

Decides which environments the process refuses to start in: those VPC CNI's entrypoint or ipamd refuses, and those
that ask for what nobody here would give. Where we differ (both families at once; prefixes without any target) a
comment says so, and docs/settings.md.
"""

from typing import Final

from eni_crds.nodeippool import Family
from eni_operator.settings.environment import custom_networking, families, imds_only
from eni_operator.settings.parsing import whole
from eni_operator.settings.reader import Reader

_TARGETS: Final = ("WARM_IP_TARGET", "MINIMUM_IP_TARGET", "WARM_PREFIX_TARGET")
_POLICY_MODES: Final = ("none", "standard", "strict")
_POD_GROUP_MODES: Final = ("strict", "standard")


def check(reader: Reader, *, scope: str) -> None:
    """Adds a problem for each combination that is refused, a warning for what has no effect."""
    _families(reader)
    _prefix_targets(reader)
    _metadata_only(reader, scope)
    _security_groups_for_pods(reader)
    _network_policy(reader)


def _families(reader: Reader) -> None:
    asked = families(reader)
    if asked == ():
        reader.refuse("neither ENABLE_IPv4 nor ENABLE_IPv6 is true: at least one of them must be")
    if asked is None or Family.IPV6 not in asked:
        return
    # VPC CNI also refuses both at once; here that is dual stack.
    if not reader.flag("ENABLE_PREFIX_DELEGATION", default=False):
        reader.refuse("ENABLE_IPv6 is true, so ENABLE_PREFIX_DELEGATION must be true: IPv6 comes in prefixes only")
    if custom_networking(reader):
        reader.refuse("ENABLE_IPv6 and AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG are both true: only one of them may be")


def _prefix_targets(reader: Reader) -> None:
    """VPC CNI compares texts and takes all unset for zero; here they are numbers, and all unset is our default."""
    if not reader.flag("ENABLE_PREFIX_DELEGATION", default=False):
        return
    told = {name: number for name in _TARGETS if (number := whole(reader.raw(name))) is not None}
    if told and max(told.values()) <= 0:
        said = " and ".join(f"{name}={number}" for name, number in told.items())
        reader.refuse(
            f"ENABLE_PREFIX_DELEGATION is true with {said}: "
            f"one of {', '.join(_TARGETS)} must be above zero, or none of them set"
        )


def _metadata_only(reader: Reader, scope: str) -> None:
    if scope == "cluster" and imds_only(reader):
        reader.refuse(
            "ENABLE_IMDS_ONLY_MODE is true and ENI_SCOPE (or --scope) is 'cluster': only one of them may be, "
            "as the metadata service tells of its own instance alone"
        )


def _security_groups_for_pods(reader: Reader) -> None:
    if reader.flag("ENABLE_POD_ENI", default=False):
        reader.refuse("ENABLE_POD_ENI must be false: security groups for pods are not in this release")
    mode = reader.raw("POD_SECURITY_GROUP_ENFORCING_MODE")
    if mode and mode not in _POD_GROUP_MODES:
        reader.warn(f"POD_SECURITY_GROUP_ENFORCING_MODE={mode!r} is ignored: it must be strict or standard")


def _network_policy(reader: Reader) -> None:
    mode = reader.one_of("NETWORK_POLICY_ENFORCING_MODE", _POLICY_MODES, "none")
    if mode != "none":
        reader.warn(
            f"NETWORK_POLICY_ENFORCING_MODE={mode!r} has no effect: network policies are not enforced in this release"
        )
