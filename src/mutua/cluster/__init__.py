"""The embedded cluster: API server, controllers, DNS, node."""
