"""Constant traffic in pods, and what became of every request: for tests of changes under load."""
