"""The baseline: a profile of the training data, built once, packed with the model and compared with production rows."""
