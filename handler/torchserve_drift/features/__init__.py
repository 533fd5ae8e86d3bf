"""What a feature is, and how requests become rows of features."""
