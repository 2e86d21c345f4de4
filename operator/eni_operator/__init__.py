"""The operator: turns NodeIPPool demand into EC2 interfaces, addresses and prefixes, and writes supply."""
