"""Who may know what the cameras saw, and how they learn of it."""

__version__ = "0.3.0"
