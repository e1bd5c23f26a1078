"""How selective each latent is for what the animal did or saw."""
