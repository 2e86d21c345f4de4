"""Fixed addresses of the laboratory's cluster: in the VPC's range, in no subnet that EC2 hands out."""

API_ADDRESS = "10.0.255.10"
"""The control plane and the cloud's endpoints; an address of the router's loopback, so every node reaches it."""
API_URL = f"https://{API_ADDRESS}:6443"
CLOUD_PORT = 8000
CLOUD_URL = f"http://{API_ADDRESS}:{CLOUD_PORT}"
"""EC2, STS and the laboratory's own control endpoints below ``/_lab/``."""
SERVICE_CIDR = "172.20.0.0/16"
"""What EKS takes when the VPC is within 10.0.0.0/8."""
KUBERNETES_SERVICE = "172.20.0.1"
DNS_SERVICE = "172.20.0.10"
"""Nobody answers there: the laboratory runs no DNS, and nothing in it needs a name."""
CLUSTER_DOMAIN = "cluster.local"
