"""What users can set, and how it is read."""
