"""The settings as values, and the order in which they are read.

Decides names, types and defaults. What a text means is ``settings.parsing``'s, what goes together
``settings.combinations``'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from eni_crds.names import LABEL_ENICONFIG
from eni_operator.domain.policy import EnvironmentPolicy
from eni_operator.settings import combinations, environment, parsing, tags
from eni_operator.settings.parsing import Address
from eni_operator.settings.reader import Reader, SettingsError

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
SCOPES: Final = ("node", "cluster")
IMDS_ENDPOINT: Final = "http://169.254.169.254"
METRICS_ADDRESS: Final = Address("127.0.0.1", 61681)
HTTP_TIMEOUT_SECONDS: Final = 10
"""VPC CNI's HTTP_TIMEOUT; it takes nothing shorter."""
RESYNC_SECONDS: Final = 3600
AGENT_SILENT_SECONDS: Final = 360
"""Three of the agent's heartbeats."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the process is told from outside."""

    node_name: str
    """MY_NODE_NAME: the node this process works for; may be empty in scope ``cluster``."""
    scope: str = "node"
    """ENI_SCOPE or --scope: node or cluster."""
    pod_name: str = ""
    """MY_POD_NAME: this process's own pod."""
    pod_namespace: str = ""
    """MY_POD_NAMESPACE: the namespace of this process's own pod."""
    pod_uid: str = ""
    """MY_POD_UID: its uid, without which its Events are not found."""
    policy: EnvironmentPolicy = field(default_factory=EnvironmentPolicy)
    """VPC CNI's targets, limits, families and provisioning."""
    custom_networking: bool = False
    """AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG: pods take their addresses from ENIConfigs only, none from the primary ENI."""
    subnet_discovery: bool = True
    """ENABLE_SUBNET_DISCOVERY: the subnets' tags say where ENIs may come from."""
    manage_untagged: bool = True
    """MANAGE_UNTAGGED_ENI: attached ENIs without our instance tag are managed too."""
    multi_card: bool = False
    """ENABLE_MULTI_NIC: network cards above 0 are managed too."""
    imds_only: bool = False
    """ENABLE_IMDS_ONLY_MODE: the metadata service is the only source about the node's ENIs."""
    manage_unschedulable: bool = False
    """AWS_MANAGE_ENIS_NON_SCHEDULABLE: a cordoned node's pool grows and loses ENIs as any other's."""
    sweep: bool = True
    """Leaked ENIs are looked for: not DISABLE_LEAKED_ENI_CLEANUP, and EC2 may be changed, and not for IPv6 alone."""
    http_timeout_seconds: int = HTTP_TIMEOUT_SECONDS
    """HTTP_TIMEOUT: of a call to EC2, 10 or more."""
    agent_silent_seconds: int = AGENT_SILENT_SECONDS
    """ENI_AGENT_SILENT_SECONDS: an agent that has not reported for so long counts as silent."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """ADDITIONAL_ENI_TAGS: tags for every new ENI."""
    cluster_name: str = ""
    """CLUSTER_NAME: also put on every new ENI."""
    cluster_endpoint: str = ""
    """CLUSTER_ENDPOINT: the API server's address in place of the service's, so that kube-proxy need not be up."""
    eniconfig_annotation: str = LABEL_ENICONFIG
    """ENI_CONFIG_ANNOTATION_DEF: the node's annotation that names its ENIConfig."""
    eniconfig_label: str = LABEL_ENICONFIG
    """ENI_CONFIG_LABEL_DEF: the node's label that names its ENIConfig."""
    ec2_endpoint: str = ""
    """AWS_EC2_ENDPOINT: another address for the EC2 API."""
    imds_endpoint: str = IMDS_ENDPOINT
    """AWS_EC2_METADATA_SERVICE_ENDPOINT: the instance metadata service."""
    region: str = ""
    """AWS_REGION or AWS_DEFAULT_REGION; the metadata service is asked otherwise."""
    metrics_address: Address = METRICS_ADDRESS
    """ENI_METRICS_ADDRESS: /healthz, /readyz and /metrics."""
    log_level: str = "info"
    """ENI_LOG_LEVEL, else AWS_VPC_K8S_CNI_LOGLEVEL: debug, info, warning, error or critical."""
    resync_seconds: int = RESYNC_SECONDS
    """ENI_RESYNC_SECONDS: EC2 is asked for everything again about this often."""
    version: str = ""
    """VPC_CNI_VERSION: put behind the user agent of calls to EC2, nothing else."""
    warnings: tuple[str, ...] = ()
    """What was ignored or has no effect, and why."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str], *, scope: str | None = None) -> "Settings":
        """Returns the settings; ``scope`` from the command line wins. Raises SettingsError with every problem."""
        reader = Reader(environ)
        told_scope = reader.one_of("ENI_SCOPE", SCOPES, "node")
        settings = _read(reader, scope or told_scope)
        reader.refuse_unknown("ENI_")
        if reader.problems:
            raise SettingsError("\n".join(reader.problems))
        return settings


def _read(reader: Reader, scope: str) -> Settings:
    combinations.check(reader, scope=scope)
    return Settings(
        node_name=_node_name(reader, scope),
        scope=scope,
        pod_name=reader.text("MY_POD_NAME"),
        pod_namespace=reader.text("MY_POD_NAMESPACE"),
        pod_uid=reader.text("MY_POD_UID"),
        policy=environment.environment_policy(reader),
        custom_networking=environment.custom_networking(reader),
        subnet_discovery=reader.flag("ENABLE_SUBNET_DISCOVERY", default=True),
        manage_untagged=reader.flag("MANAGE_UNTAGGED_ENI", default=True),
        multi_card=reader.flag("ENABLE_MULTI_NIC", default=False),
        imds_only=environment.imds_only(reader),
        manage_unschedulable=reader.flag("AWS_MANAGE_ENIS_NON_SCHEDULABLE", default=False),
        sweep=environment.sweeping(reader),
        http_timeout_seconds=reader.lenient("HTTP_TIMEOUT", parsing.at_least(10)) or HTTP_TIMEOUT_SECONDS,
        agent_silent_seconds=reader.strict("ENI_AGENT_SILENT_SECONDS", parsing.at_least(1), AGENT_SILENT_SECONDS),
        tags=tags.additional(reader),
        cluster_name=reader.text("CLUSTER_NAME"),
        cluster_endpoint=reader.text("CLUSTER_ENDPOINT"),
        eniconfig_annotation=reader.text("ENI_CONFIG_ANNOTATION_DEF") or LABEL_ENICONFIG,
        eniconfig_label=reader.text("ENI_CONFIG_LABEL_DEF") or LABEL_ENICONFIG,
        ec2_endpoint=reader.text("AWS_EC2_ENDPOINT"),
        imds_endpoint=reader.text("AWS_EC2_METADATA_SERVICE_ENDPOINT") or IMDS_ENDPOINT,
        region=reader.text("AWS_REGION") or reader.text("AWS_DEFAULT_REGION"),
        metrics_address=reader.strict("ENI_METRICS_ADDRESS", parsing.address, METRICS_ADDRESS),
        log_level=_log_level(reader),
        resync_seconds=reader.strict("ENI_RESYNC_SECONDS", parsing.at_least(1), RESYNC_SECONDS),
        version=reader.text("VPC_CNI_VERSION"),
        warnings=tuple(reader.warnings),
    )


def _node_name(reader: Reader, scope: str) -> str:
    if scope == "cluster":
        return reader.text("MY_NODE_NAME")
    return reader.required("MY_NODE_NAME", "the name of this node, from the downward API's spec.nodeName")


def _log_level(reader: Reader) -> str:
    ours = reader.one_of("ENI_LOG_LEVEL", LOG_LEVELS, "")
    return ours or reader.lenient("AWS_VPC_K8S_CNI_LOGLEVEL", parsing.log_level) or "info"
