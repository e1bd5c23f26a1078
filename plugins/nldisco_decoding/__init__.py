"""How well behaviour can be read from latents on held-out data."""
