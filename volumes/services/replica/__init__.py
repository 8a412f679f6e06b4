"""Use cases of replicas."""
