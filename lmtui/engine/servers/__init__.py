"""Models on servers: what they draw with, and what of it can be told."""
