"""What is drawn: each widget takes immutable values and posts what happened.

Widgets know the values of `engine.types`, never an engine, a screen or a runner.
"""
