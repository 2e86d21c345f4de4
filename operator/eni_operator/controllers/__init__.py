"""Where Kubernetes meets the loop: feeds in, one reconcile loop for a node, status and Events out."""
