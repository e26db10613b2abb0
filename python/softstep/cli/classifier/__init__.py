"""`softstep train`: the training of a classifier."""
