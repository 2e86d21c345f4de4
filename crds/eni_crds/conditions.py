"""Condition types and machine reasons of a NodeIPPool.

Decides the vocabulary and who writes which type; building a condition from facts is the writer's work
(``eni_operator.controllers.status``, ``eni_node_agent.cluster.usage``).
"""

from enum import StrEnum


class ConditionType(StrEnum):
    """Condition types; each has exactly one writer (ARCHITECTURE: one writer per field)."""

    READY = "Ready"
    """Operator. The pool can serve pods now, and if not, why."""
    SUFFICIENT = "Sufficient"
    """Operator. Supply covers what is wanted, or still can grow to it."""
    SUBNET_EXHAUSTED = "SubnetExhausted"
    PREFIX_FRAGMENTED = "PrefixFragmented"
    THROTTLED = "Throttled"
    LIMIT_REACHED = "LimitReached"
    ACCESS_DENIED = "AccessDenied"
    OVERCOMMITTED = "Overcommitted"
    """Operator. The kubelet takes more pods than this instance can address."""
    AGENT_CONNECTED = "AgentConnected"
    """Agent. The agent has taken the supply over and serves the socket."""
    DRIFT_DETECTED = "DriftDetected"
    """Agent. Something else changed the host's network; what was repaired."""


OPERATOR_CONDITIONS = (
    ConditionType.READY,
    ConditionType.SUFFICIENT,
    ConditionType.SUBNET_EXHAUSTED,
    ConditionType.PREFIX_FRAGMENTED,
    ConditionType.THROTTLED,
    ConditionType.LIMIT_REACHED,
    ConditionType.ACCESS_DENIED,
    ConditionType.OVERCOMMITTED,
)
AGENT_CONDITIONS = (ConditionType.AGENT_CONNECTED, ConditionType.DRIFT_DETECTED)


class Reason(StrEnum):
    """Machine reasons of conditions; the sentence beside them is for people."""

    POOL_READY = "PoolReady"
    GROWING = "Growing"
    PAUSED = "Paused"
    PROVISIONING_DISABLED = "ProvisioningDisabled"
    UNSCHEDULABLE = "Unschedulable"
    ADDRESSES_AVAILABLE = "AddressesAvailable"
    SUBNET_FULL = "SubnetFull"
    NO_FREE_PREFIX = "NoFreePrefix"
    ENI_LIMIT = "ENILimit"
    ADDRESS_LIMIT = "AddressLimit"
    PREFIXES_UNSUPPORTED = "PrefixesUnsupported"
    ENI_QUOTA = "ENIQuota"
    ACCESS_DENIED = "AccessDenied"
    THROTTLED = "Throttled"
    EC2_UNREACHABLE = "EC2Unreachable"
    CREDENTIALS_MISSING = "CredentialsMissing"
    CREDENTIALS_EXPIRED = "CredentialsExpired"
    UNKNOWN_INSTANCE = "UnknownInstance"
    UNKNOWN_INSTANCE_TYPE = "UnknownInstanceType"
    ENICONFIG_READY = "ENIConfigReady"
    """Of an ENIConfig: every node that uses it can."""
    ENICONFIG_UNUSED = "ENIConfigUnused"
    """Of an ENIConfig: no node has tried it."""
    ENICONFIG_MISSING = "ENIConfigMissing"
    ENICONFIG_INVALID = "ENIConfigInvalid"
    UNKNOWN_SUBNET = "UnknownSubnet"
    UNKNOWN_SECURITY_GROUP = "UnknownSecurityGroup"
    WRONG_ZONE = "WrongZone"
    NO_SUBNET = "NoSubnet"
    """No subnet may be used: all are excluded by tag, or none matches."""
    NO_IPV6_SUBNET = "NoIPv6Subnet"
    MAXIMUM_PODS_TOO_HIGH = "MaximumPodsTooHigh"
    AGENT_SILENT = "AgentSilent"
    EC2_ERROR = "EC2Error"
    AGENT_SERVING = "AgentServing"
    HOST_NOT_READY = "HostNotReady"
    OPERATOR_SILENT = "OperatorSilent"
    """The agent has no supply: the operator has not described the node, or the API server does not tell."""
    IPV6_NOT_SERVED = "IPv6NotServed"
    """The pool gives IPv6 addresses, and the kernel of the node has no IPv6."""
    VPC_CNI_RUNNING = "VPCCNIRunning"
    """VPC CNI still owns this node's addresses: two owners would give one address to two pods."""
    NETWORK_IN_ORDER = "NetworkInOrder"
    NETWORK_REPAIRED = "NetworkRepaired"
    RULE_CONFLICT = "RuleConflict"
    """Another tool's policy rule or address is in the way of pods; the agent leaves it and says so."""
    NOT_AFFECTED = "NotAffected"
