"""`softstep lm`: the training of a language model."""
