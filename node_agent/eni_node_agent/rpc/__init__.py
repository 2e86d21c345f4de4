"""The socket on which the CNI executable reaches the agent."""
