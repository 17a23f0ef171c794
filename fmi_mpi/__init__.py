"""mpi4py programs as serverless functions."""
