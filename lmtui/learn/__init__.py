"""A course about language models: pages with live instruments on a real model."""
