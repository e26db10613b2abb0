"""Functions of logits and predictions: softmax and its family, and the losses."""
