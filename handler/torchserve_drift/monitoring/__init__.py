"""One model watched: evaluations, the background thread, the public `Monitor`."""
