"""The Kubernetes-style API server: HTTP, routing, admission, watches."""
