"""What the mesh is: one immutable snapshot built from API objects."""
