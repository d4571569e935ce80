"""The runs dialect: runs that are started by one request and watched, steered and stopped by others."""
