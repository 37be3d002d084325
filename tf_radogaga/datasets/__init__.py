"""Data: the papers' sets and protocols, and the user's own tables."""
