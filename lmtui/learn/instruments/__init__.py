"""The instruments of a course, one a file, and the list of them."""
