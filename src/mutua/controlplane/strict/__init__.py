"""From PERMISSIVE to STRICT and, when somebody fails, back by itself."""
