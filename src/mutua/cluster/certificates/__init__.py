"""What the mesh's certificates are, told as objects and events."""
