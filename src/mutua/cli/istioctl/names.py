"""What istioctl's commands are called; also those that `mutua` knows without the word istioctl."""

from typing import Final

COMMANDS: Final = {
    # name: (module, what the list of commands says)
    "analyze": ("analyze", "Say what is wrong with the mesh or with manifests."),
    "authn": ("authn", "Check which TLS clients send and servers accept: authn tls-check."),
    "experimental": ("experimental", "Describe a pod or a Service: x describe pod|service."),
    "kube-inject": ("kube_inject", "Write the sidecar into manifests, as injection would."),
    "proxy-config": ("proxy_config", "Show a proxy's configuration, as its Envoy reports it."),
    "proxy-status": ("proxy_status", "Show every proxy and what it has been sent."),
    "version": ("version", "Print the versions of client, control plane and data plane."),
}

ALIASES: Final = {
    "exp": "experimental",
    "pc": "proxy-config",
    "ps": "proxy-status",
    "x": "experimental",
}

PLANNED: Final = frozenset({
    "admin", "bug-report", "create-remote-secret", "dashboard", "install",
    "manifest", "remote-clusters", "tag", "uninstall", "upgrade", "validate",
    "verify-install", "waypoint", "ztunnel-config",
})  # fmt: skip
"""Istio's other commands, so that calling one is not taken for a typing error."""
