"""The OpenAPI document of everything that the shim serves, and the page that shows it."""
