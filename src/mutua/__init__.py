"""Mutual TLS for every service, with Istio's API."""

__version__ = "0.1.0"
