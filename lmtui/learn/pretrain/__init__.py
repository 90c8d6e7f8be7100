"""Pretraining of a small byte-level transformer, from random weights in a minute."""
