"""C++ kernels: their sources, their build, and how they are called from Python."""
