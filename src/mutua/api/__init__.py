"""Objects as users write them: kinds, schemas, defaults, validation, columns."""
