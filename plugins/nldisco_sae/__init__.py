"""Sparse autoencoders of population activity."""
