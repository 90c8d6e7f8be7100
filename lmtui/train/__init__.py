"""Fine-tuning on a user's notes: reading them, training, evaluating the result."""
