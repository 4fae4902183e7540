"""`mutua strict`: who would fail under STRICT, and the way there that turns back by itself."""
