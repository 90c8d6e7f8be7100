"""Tests of the screens, their widgets and their themes."""
