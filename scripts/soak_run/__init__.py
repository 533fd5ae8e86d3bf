"""The soak: kills workers of a real TorchServe under load, and checks that every answered row is counted once."""
