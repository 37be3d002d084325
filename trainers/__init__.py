"""Scripts that train, score and measure; README names them."""
