"""Products, variants and prices; feeds `catalog.items`, from which others build read models."""
