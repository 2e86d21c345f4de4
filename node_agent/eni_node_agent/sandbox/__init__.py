"""Sandboxes and their addresses: waiting for one, giving it back, finding those that left without a word."""
