"""What the API reads and answers, as pydantic models. pydantic stays in this package and in `functions.openapi`."""
