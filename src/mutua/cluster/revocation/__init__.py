"""Ending trust before its time, and connections with it."""
