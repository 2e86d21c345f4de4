"""Upstream's own network tests, run on a laboratory with the product as its network: ``make conformance``."""
