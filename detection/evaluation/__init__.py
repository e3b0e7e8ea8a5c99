"""How good a model is, on pictures whose faces are known."""
