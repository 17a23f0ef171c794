"""Speed of fmi_mpi beside MPICH and Open MPI, and beside plain sockets; ``make bench``."""
