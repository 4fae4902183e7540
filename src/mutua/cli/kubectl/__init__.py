"""The everyday part of kubectl, for a machine that has none: the same API, another client."""
