"""The control plane: from stored objects to configured proxies."""
