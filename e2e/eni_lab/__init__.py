"""The laboratory: a stand-in AWS, a VPC fabric of namespaces, and a real Kubernetes. Never part of the product."""
