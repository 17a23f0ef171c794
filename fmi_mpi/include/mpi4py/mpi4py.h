/* fmi_mpi is Python all through: there is no C interface to MPI objects and no mpi.h. */
#error "fmi_mpi stands in for mpi4py here and has no C interface: build this extension against mpi4py and an MPI library"
