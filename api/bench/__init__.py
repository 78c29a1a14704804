"""Benchmarks of what only the service has: tokens, and Keycloak's part in a question."""
