"""Who reaches whom, over real pods: a mesh, programs that talk, and what must become of it."""
