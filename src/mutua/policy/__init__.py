"""What policies mean: a pure evaluator that explains itself."""
