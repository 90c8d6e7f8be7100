"""The engine's worker: requests, the thread that runs them, and the events it answers
with. Knows neither Textual nor a screen."""
