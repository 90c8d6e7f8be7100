"""The fast path: fewer bits, fewer operations, a stated distance from the exact one."""
