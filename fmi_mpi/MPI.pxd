# fmi_mpi has no C interface: there is nothing to cimport here; build extensions against mpi4py.
