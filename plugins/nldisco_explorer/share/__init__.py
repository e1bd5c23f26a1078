"""One HTML file that shows a run without a server."""
