"""Bundled recordings and simulators with known truth."""
