"""A real TorchServe under load whose workers die: is every answered row counted, once, and at what cost?"""
