"""Who may know of what the cameras saw, and how they learn it."""
