"""HTTP/JSON for gRPC services, read from their descriptors after the rules of google/api/http.proto."""
