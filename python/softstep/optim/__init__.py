"""The update: SGD, AdamW, the L2 penalty."""
