"""A dataset, a latent model and a mapper for nldisco, each in a few lines."""
