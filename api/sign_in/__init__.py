"""Signing people in, on the page and on the command line, and what is kept of it."""
