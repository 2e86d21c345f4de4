"""NodeIPPool: the pool of addresses of one node, the only channel between operator and agent.

Decides the shape of the object and who writes what: people ``spec``, the operator ``status.supply``, the agent
``status.usage``, and each condition its one writer. Does not decide policy (``eni_operator.planning``) or hand out
addresses (``eni_node_agent.ledger``). ``crds/nodeippools.yaml`` is generated from here by ``eni_crds.schema``.
"""

from enum import StrEnum
from typing import Any

from msgspec import field

from eni_crds.contract import Cidr, Contract, Instant, NonNegative, Positive


class Mode(StrEnum):
    """How addresses come onto an ENI: one by one, in /28 prefixes, or prefixes with a fall-back."""

    SECONDARY = "secondary"
    PREFIX = "prefix"
    AUTO = "auto"


class Family(StrEnum):
    """Address families of pods."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"


class PolicySpec(Contract, frozen=True):
    """What people may ask of a pool; anything absent falls to ENIConfig, environment, default (in this order)."""

    mode: Mode | None = None
    """secondary, prefix or auto."""
    warm_ips: NonNegative | None = field(default=None, name="warmIPs")
    """Free addresses wanted beyond demand (WARM_IP_TARGET)."""
    minimum_ips: NonNegative | None = field(default=None, name="minimumIPs")
    """Least addresses held in all (MINIMUM_IP_TARGET)."""
    warm_prefixes: NonNegative | None = None
    """Free prefixes wanted beyond demand (WARM_PREFIX_TARGET)."""
    warm_enis: NonNegative | None = field(default=None, name="warmENIs")
    """Free ENIs' worth of addresses wanted beyond demand (WARM_ENI_TARGET)."""
    maximum_enis: Positive | None = field(default=None, name="maximumENIs")
    """Most ENIs, the primary included (MAX_ENI)."""
    maximum_pods: Positive | None = None
    """Most pod addresses worth holding; the kubelet's limit otherwise."""
    maximum_ips: Positive | None = field(default=None, name="maximumIPs")
    """Hard ceiling on addresses held."""
    cooldown_seconds: NonNegative | None = None
    """Seconds an address rests before another pod may have it (IP_COOLDOWN_PERIOD)."""
    release_after_seconds: NonNegative | None = None
    """Seconds a surplus must last before it is given back."""
    release_batch: Positive | None = None
    """Most CIDRs given back in one turn; all of the surplus otherwise."""
    drain_on_change: bool | None = None
    """True: when the ENIConfig changes, ENIs made from the former one are drained; otherwise they stay (VPC CNI)."""


class NodeIPPoolSpec(Contract, frozen=True):
    """People's part. All optional."""

    eni_config: str | None = None
    """ENIConfig by name; the node's label or annotation otherwise."""
    policy: PolicySpec = PolicySpec()
    families: list[Family] | None = None
    """Address families of pods; ENABLE_IPv4 and ENABLE_IPv6 otherwise, and IPv4 where those are not set."""
    paused: bool = False
    """True: no EC2 call that changes anything is made for this node."""


class EniRole(StrEnum):
    """What an interface of the instance is to us."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    EFA = "efa"
    """Serves pods, but is never taken off the instance."""
    EFA_ONLY = "efa-only"
    """Carries no IP traffic."""
    TRUNK = "trunk"
    """Carries branch interfaces of others."""
    UNMANAGED = "unmanaged"
    """Somebody else's."""


SERVING_ROLES = frozenset((EniRole.PRIMARY, EniRole.SECONDARY, EniRole.EFA))
"""Roles whose addresses pods may have."""


class EniState(StrEnum):
    """Where an ENI is on its way; only ``attached`` serves pods."""

    ATTACHING = "attaching"
    ATTACHED = "attached"
    RELEASING = "releasing"
    """On its way out: its addresses are in ``releasing`` or already gone."""
    DETACHING = "detaching"


class Releasing(Contract, frozen=True):
    """Half of the release handshake: give this CIDR back, and say so with this token."""

    cidr: Cidr
    token: str


class SupplyEni(Contract, frozen=True, kw_only=True):
    """One interface as the agent needs it to program the host, and as a person wants to read it."""

    id: str
    mac: str
    device_index: int
    network_card: int = 0
    role: EniRole
    subnet_id: str = field(name="subnetID")
    subnet_cidr: Cidr = field(name="subnetCIDR")
    gateway: str
    """The VPC router's address on this subnet: base plus one."""
    primary_ip: str = field(name="primaryIP")
    security_groups: list[str] = []
    state: EniState
    addresses: list[str] = []
    """Secondary addresses, without mask; pods may have them."""
    prefixes: list[Cidr] = []
    """/28 prefixes; pods may have every address in them."""
    releasing: list[Releasing] = []
    """CIDRs on their way out: a single address as /32, or a prefix."""
    subnet_ipv6_cidr: Cidr | None = field(default=None, name="subnetIPv6CIDR")
    ipv6_prefixes: list[Cidr] = field(default_factory=list, name="ipv6Prefixes")
    """/80 prefixes; pods may have every address in them. They stay as long as the ENI does."""
    excluded: str | None = None
    """Why no pod gets a new address of this ENI; absent when pods may."""


class SupplyInstance(Contract, frozen=True):
    """The EC2 instance behind the node."""

    id: str
    type: str
    zone: str
    vpc_id: str = field(name="vpcID")


class SupplyLimits(Contract, frozen=True):
    """What this instance can hold."""

    enis: int
    addresses_per_eni: int = field(name="addressesPerENI")
    """IPv4 slots of an ENI, its primary included; a slot holds an address or a prefix."""
    maximum_pods: int
    """Pods this instance can address under the policy in force, two on the host's network included."""
    cards: list[int] = []
    """ENIs each network card takes, card 0 first."""


class SupplySubnet(Contract, frozen=True):
    """A subnet new ENIs may come from."""

    id: str
    zone: str
    cidr: Cidr
    free: int
    """Free addresses when last asked."""
    exhausted_until: Instant | None = None
    """It refused an address and is left alone until then."""
    fragmented_until: Instant | None = None
    """It refused a /28 and is asked for none until then."""


class Snat(Contract, frozen=True):
    """Whose address the world sees; where present it overrides the agent's environment."""

    external: bool | None = None
    """True: pods keep their address, something else translates (AWS_VPC_K8S_CNI_EXTERNALSNAT)."""
    exclude_cidrs: list[Cidr] | None = field(default=None, name="excludeCIDRs")
    """Destinations that see the pod's own address (AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS)."""


class PolicyValue(Contract, frozen=True):
    """An effective setting and where it came from."""

    value: int | str
    origin: str
    """pool, eniconfig, environment or default."""


class Totals(Contract, frozen=True):
    """Counts a person reads in ``kubectl get nodeippool``."""

    enis: int = 0
    prefixes: int = 0
    addresses: int = 0
    """Pod addresses held: secondary addresses and 16 for each prefix."""


class Supply(Contract, frozen=True, kw_only=True):
    """The operator's part of the status."""

    instance: SupplyInstance
    limits: SupplyLimits
    vpc_cidrs: list[Cidr] = field(default_factory=list, name="vpcCIDRs")
    policy: dict[str, PolicyValue] = {}
    """Effective policy by field name of ``spec.policy``."""
    eni_config: str | None = None
    wanted: int
    """Pod addresses the pool is growing or shrinking to."""
    totals: Totals
    generation: int = 0
    """Counts the ENIs that left: part of the next ENI's client token, so that a token never names a deleted ENI."""
    enis: list[SupplyEni] = []
    cards: list[int] = []
    """Network cards that have or will have ENIs for pods: a pod that asks for every card waits for each of them. Empty
    where there is one card."""
    families: list[Family] = field(default_factory=lambda: [Family.IPV4])
    vpc_ipv6_cidrs: list[Cidr] = field(default_factory=list, name="vpcIPv6CIDRs")
    subnets: list[SupplySubnet] = []
    """Where new ENIs may come from, the one asked first at the front."""
    snat: Snat | None = None


class Leaving(Contract, frozen=True):
    """A handshake the agent has seen and that pods still hold up: nobody new gets an address of this CIDR."""

    cidr: Cidr
    token: str
    held: int
    """Addresses of it that are assigned or cooling; never zero, or it would be in ``released``."""


class CardUsage(Contract, frozen=True):
    """Usage of one network card beside card 0."""

    network_card: int
    assigned: int = 0
    cooling: int = 0
    pending: int = 0
    """Pods bound to this node that want an address of this card too and have none yet."""


class Usage(Contract, frozen=True):
    """The agent's part of the status: aggregates only, debounced."""

    assigned: int = 0
    cooling: int = 0
    free: int = 0
    """Addresses a pod could have at once."""
    pending: int = 0
    """Pods bound to this node that have no address yet."""
    idle: list[Cidr] = []
    """CIDRs (/32 or prefix) with no assigned and no cooling address, the least useful first; what may be released."""
    released: list[Releasing] = []
    """The agent's half of the handshake: what it no longer hands out and no pod holds."""
    leaving: list[Leaving] = []
    """Handshakes that are held up by pods."""
    cards: list[CardUsage] = []
    """Network cards above 0 that have ENIs; what is assigned and cools there is part of the counts above."""
    boot_id: str = field(default="", name="bootID")
    reported_at: Instant | None = None
    """When the agent last spoke; renewed every few minutes though nothing changes."""


class ConditionStatus(StrEnum):
    """As in the Kubernetes API conventions."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Contract, frozen=True, kw_only=True):
    """A condition as in the Kubernetes API conventions (metav1.Condition)."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""
    last_transition_time: Instant


class NodeIPPoolStatus(Contract, frozen=True):
    """What operator and agent say."""

    supply: Supply | None = None
    usage: Usage | None = None
    conditions: list[Condition] = []


class NodeIPPool(Contract, frozen=True):
    """The whole object, named after its node and owned by it."""

    metadata: dict[str, Any] = {}
    spec: NodeIPPoolSpec = NodeIPPoolSpec()
    status: NodeIPPoolStatus = NodeIPPoolStatus()
