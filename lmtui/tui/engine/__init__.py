"""Each screen's client of the engine's worker, and the messages it answers with."""
