"""Models on a server: its address, the connection to it, and what it tells."""
