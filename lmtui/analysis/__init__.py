"""Analyses of scored text: totals, calibration, comparison of models, branches."""
