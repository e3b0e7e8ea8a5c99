"""What is old, or has no room, is deleted: rows and pictures together."""
