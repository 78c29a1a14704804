"""Servers that tests need and that no Python package brings: fetched once by `make services`, started by fixtures."""
