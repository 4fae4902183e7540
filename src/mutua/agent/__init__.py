"""The agent next to a workload: keys, certificates, SDS."""
