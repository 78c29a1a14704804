"""The routes: each parses, calls one use case and shapes the reply."""
