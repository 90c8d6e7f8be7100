"""The widgets. Each one is given immutable values and posts messages.

Widgets know the value types of `lmtui.engine.types`, but no engine, screen or client.
"""
