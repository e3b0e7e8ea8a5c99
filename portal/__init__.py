"""Who may know of what the cameras saw, and how they learn it."""

__version__ = "0.3.0"
