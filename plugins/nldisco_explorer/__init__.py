"""The browser explorer of a run."""
