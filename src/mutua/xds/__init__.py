"""Envoy's configuration: compiled, versioned, served."""
