"""Who is let in, for what, and how often."""
