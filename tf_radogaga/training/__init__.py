"""From rows of any kind to trained weights, under Keras' own loops."""
