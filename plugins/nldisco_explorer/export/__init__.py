"""Saving what a tile shows: its arrays as tables, and the same arrays as a figure."""
