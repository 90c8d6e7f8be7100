"""The local server: HTTP requests in the shapes of OpenAI and vLLM, answered by the
engine's worker. Knows no terminal and no torch."""
