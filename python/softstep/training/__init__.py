"""What trainings share: network, batches, evaluation, progress, tables."""
