"""A Kubernetes of plain processes: binaries, certificates, control plane, images."""
