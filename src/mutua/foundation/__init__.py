"""Standard library only: errors, clock, backoff, identities, layout of directories."""
