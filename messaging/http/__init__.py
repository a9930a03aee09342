"""What every REST API here has in common: problems, tokens, commands run once, pages, ETags."""
