%{
#include "mpi4py.h" /* fmi_mpi has no C interface; see there. */
%}
