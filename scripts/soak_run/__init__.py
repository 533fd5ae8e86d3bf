"""The soak: a real TorchServe under load whose workers are killed. Is every answered row counted once, at what cost?"""
