"""The gRPC services: validate, authorise, delegate, translate."""
