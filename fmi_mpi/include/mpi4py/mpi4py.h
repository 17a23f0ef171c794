/* fmi_mpi links no MPI library and offers no C interface: extensions that need one cannot be built. */
#error "fmi_mpi has no C interface; build this extension against mpi4py"
