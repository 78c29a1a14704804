"""A Keycloak realm as its administrator knows it: checked, followed, and asked about people and groups."""
