"""What is trained on: tables, labels, texts, and how they are split."""
