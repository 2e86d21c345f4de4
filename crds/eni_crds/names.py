"""Every name that crosses a border: groups, kinds, labels, tags, field managers.

Decides how things are called in Kubernetes and EC2; holds no behaviour. AWS's own names keep their spelling
(https://github.com/aws/amazon-vpc-cni-k8s), so that existing manifests and nodes work unchanged.
"""

from typing import Final

POOL_GROUP: Final = "eni-operator.io"
POOL_VERSION: Final = "v1alpha1"
POOL_KIND: Final = "NodeIPPool"
POOL_PLURAL: Final = "nodeippools"

ENICONFIG_GROUP: Final = "crd.k8s.amazonaws.com"
ENICONFIG_VERSION: Final = "v1alpha1"
ENICONFIG_KIND: Final = "ENIConfig"
ENICONFIG_PLURAL: Final = "eniconfigs"

OPERATOR_FIELD_MANAGER: Final = "eni-operator"
"""Server-side apply manager of ``status.supply`` and the operator's conditions."""
AGENT_FIELD_MANAGER: Final = "eni-agent"
"""Server-side apply manager of ``status.usage`` and the agent's conditions."""
LEADER_FIELD_MANAGER: Final = "eni-operator-leader"
"""Server-side apply manager of an ENIConfig's status: the one operator that holds the Lease."""
LEASE_NAMESPACE: Final = "kube-system"
LEASE: Final = "eni-operator"
"""Whose holder leads: it sweeps leaked ENIs and writes ENIConfig statuses; in scope ``cluster`` it does everything."""

LABEL_EXTERNAL_ENICONFIG: Final = "vpc.amazonaws.com/externalEniConfig"
LABEL_ENICONFIG: Final = "k8s.amazonaws.com/eniConfig"
DEFAULT_ENICONFIG: Final = "default"

TAG_INSTANCE: Final = "node.k8s.amazonaws.com/instance_id"
TAG_CLUSTER: Final = "cluster.k8s.amazonaws.com/name"
TAG_NO_MANAGE: Final = "node.k8s.amazonaws.com/no_manage"
TAG_SUBNET_ROLE: Final = "kubernetes.io/role/cni"
"""On a subnet: 0 keeps pods out of it, any other value lets them in."""
TAG_SUBNET_CLUSTER_PREFIX: Final = "cni.networking.k8s.aws/cluster/"
"""On a subnet, with a cluster's name behind it: only clusters named so use the subnet."""
TAG_FORBIDDEN: Final = "eks:eni:owner"
"""Never put on an ENI of ours: AWS's resource controller deletes available ENIs that bear it."""
TAG_RESERVED: Final = "k8s.amazonaws.com"
"""Keys that contain this are Kubernetes' and EKS's own; people may not set them through us."""
DESCRIPTION_PREFIX: Final = "aws-K8S-"
"""An ENI of ours is described as this plus the instance id; VPC CNI does the same."""

AGENT_SOCKET: Final = "/run/eni-agent/agent.sock"
"""Unix socket on which the agent serves the CNI executable."""
