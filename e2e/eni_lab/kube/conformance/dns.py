"""The cluster's DNS server: CoreDNS as one replica behind the service that kubelets name to pods. Manifests as values.

One replica and short caches: records of what a test has just made are asked for at once.
"""

import json

from eni_lab.kube.addresses import CLUSTER_DOMAIN, DNS_SERVICE
from eni_lab.kube.conformance.images import DNS_IMAGE
from eni_lab.lab import Lab

NAMESPACE = "kube-system"
NAME = "coredns"
_LABELS = {"k8s-app": "kube-dns"}
_COREFILE = f"""\
.:53 {{
  errors
  ready
  kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
    pods insecure
    ttl 5
  }}
  cache 5
}}
"""


def deploy(lab: Lab, seconds: float = 60) -> None:
    """Starts it and waits until it answers: the first pod with an address of ours.

    Raises:
        LabError: it is not ready in time.
    """
    lab.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests()}))
    lab.kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/{NAME}", f"--timeout={seconds:g}s")
    lab.report(f"{NAME} ready")


def manifests() -> list[dict[str, object]]:
    """All objects, in the order they are made."""
    metadata = {"name": NAME, "namespace": NAMESPACE}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        *_rights(),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"Corefile": _COREFILE}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {**metadata, "labels": _LABELS},
            "spec": {
                "selector": {"matchLabels": _LABELS},
                "template": {"metadata": {"labels": _LABELS}, "spec": _pod()},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": NAMESPACE, "labels": _LABELS},
            "spec": {
                "clusterIP": DNS_SERVICE,
                "selector": _LABELS,
                "ports": [{"name": f"dns-{kind.lower()}", "port": 53, "protocol": kind} for kind in ("UDP", "TCP")],
            },
        },
    ]


def _rights() -> list[dict[str, object]]:
    name = {"name": "system:coredns"}
    group = "rbac.authorization.k8s.io"
    read = ["list", "watch"]
    return [
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRole",
            "metadata": name,
            "rules": [
                {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": read},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
            ],
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": name,
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", **name},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
        },
    ]


def _pod() -> dict[str, object]:
    container = {
        "name": NAME,
        "image": DNS_IMAGE,
        "imagePullPolicy": "Never",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
    }
    return {
        "serviceAccountName": NAME,
        "dnsPolicy": "Default",
        "priorityClassName": "system-cluster-critical",
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": NAME}}],
    }
