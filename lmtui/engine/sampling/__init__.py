"""The sampler: from logits to a drawn token, as a chain of pure functions.

Knows no model, no tokenizer and no cache. V is the size of the vocabulary.
"""
