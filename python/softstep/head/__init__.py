"""The linear head of a large vocabulary: cross-entropy without its logits."""
