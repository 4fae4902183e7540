"""Controllers: from what users declare to objects that the node can run."""
