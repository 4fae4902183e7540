"""The process that owns every pod process of a mesh and outlives the daemon."""
