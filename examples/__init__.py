"""The sample company and the script that makes its binary files."""
