"""The training data's profile: built once, packed beside the model, compared with ever after."""
