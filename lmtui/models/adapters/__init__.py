"""LoRA adapters: found, checked, merged and imported."""
