"""Istio's certificate signing service: who asks, may they, and what they get."""
