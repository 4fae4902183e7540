"""Pods as processes: namespaces, wiring, capture, mounts, supervision."""
