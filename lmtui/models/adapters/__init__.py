"""LoRA adapters: found, checked, merged, exported and imported."""
