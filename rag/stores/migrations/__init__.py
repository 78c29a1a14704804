"""Steps that bring a catalog from one release's schema to the next; run by `rag.stores.catalog` when it opens."""
