"""Trolley's command line and local runtime; the only package that knows every service."""
