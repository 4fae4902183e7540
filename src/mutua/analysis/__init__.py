"""What is wrong with this mesh, or surprising about it, before anybody runs into it."""
