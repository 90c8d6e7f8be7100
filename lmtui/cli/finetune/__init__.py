"""`lmtui finetune`."""
