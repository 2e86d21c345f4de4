"""The host's network: what secondary ENIs need so that pods reach the VPC by them and the world by the primary."""
