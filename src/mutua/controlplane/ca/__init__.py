"""The mesh's CA in service: plugged in, rotated, and told of."""
