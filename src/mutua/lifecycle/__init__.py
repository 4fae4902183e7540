"""The only place that creates long-lived tasks."""
