"""The finetune screen (`lmtui finetune`)."""
