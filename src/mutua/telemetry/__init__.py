"""Names of metrics and log fields, and the log format."""
