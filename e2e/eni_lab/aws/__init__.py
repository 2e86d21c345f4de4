"""A stand-in AWS: EC2's network-interface control plane, STS for web identities, and the instance metadata service."""
