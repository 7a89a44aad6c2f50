"""A typed client of the HTTP API, and encryption of files with handed-out data keys."""
