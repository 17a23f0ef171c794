#include "mpi4py.h"
