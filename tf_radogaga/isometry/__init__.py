"""Is the latent isometric? Tangents, active directions, measures, and certificates made of them."""
