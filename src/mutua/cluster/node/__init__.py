"""The node: from Pod objects to processes, and back to their status."""
