"""Cross-entropy with the classes on many processes."""
