"""Nodes: instances with namespaces and a disk, running containerd, kubelet and kube-proxy."""
