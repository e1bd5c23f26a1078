"""The first-party tiles; each module holds the views of one subject."""
