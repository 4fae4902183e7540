"""The node's network: one network namespace per pod, Services, traffic capture, probes."""
