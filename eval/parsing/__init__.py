"""How well files are read: against what a manifest expects of each, against references, and beside bare readers."""
