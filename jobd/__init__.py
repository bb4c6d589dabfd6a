"""The job daemon: takes jobs over gRPC, runs each as a Prefect flow, and tells what happens."""

__version__ = "0.1.0"
