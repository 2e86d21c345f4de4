"""What Amazon's VPC CNI left on the node: taken over for running pods, cleaned up where theirs are gone.

``docs/migration.md`` tells a person how a node changes hands, and why it is done this way.
"""
