"""One module for each step from an older database to the tables of `store.schema`."""
