"""Panels drawn on a canvas: what they hold, and the script that draws them."""
