"""Who shows a token: what its signature says, and what the identity provider says of it now."""
