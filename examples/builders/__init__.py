"""Turns the readable sources in `examples/content` into the files of the sample company."""
