"""The gRPC edge: requests to values of the model, values and errors back. Decides nothing."""
