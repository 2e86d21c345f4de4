"""The warm CNI plugin: verbs and the pod's network namespace. Runs inside the agent, imports nothing of it."""
