"""What is done with each message and request: load what a batch needs, decide, save."""
