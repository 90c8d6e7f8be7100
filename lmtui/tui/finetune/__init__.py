"""Training, watched: `lmtui finetune` on a screen."""
