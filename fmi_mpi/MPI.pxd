# There is nothing to cimport: the header says so when the extension is compiled.
cdef extern from "mpi4py/mpi4py.h":
    pass
