"""Where each latent is active: maps of space and direction, and the scores of place, grid, border and speed cells."""
