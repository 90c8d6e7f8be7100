"""Tests of the screen of a course."""
