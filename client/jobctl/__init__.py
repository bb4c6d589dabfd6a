"""The command line of jobd, and its Python client."""
