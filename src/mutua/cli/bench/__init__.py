"""What does the mesh cost on this machine?  One command, every figure with how it was taken."""
