"""What each check finds in a window."""
