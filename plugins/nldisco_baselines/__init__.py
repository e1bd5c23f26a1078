"""Linear and matching-pursuit baselines on scikit-learn, and the units themselves."""
