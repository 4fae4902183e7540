"""Whether an object may be stored, and what its author should know about it."""

from mutua.api.validation.admission import validate

__all__ = ["validate"]
