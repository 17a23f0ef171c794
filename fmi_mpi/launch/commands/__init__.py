"""The commands of ``fmi-mpi``, a file each; see ``launch.tools``."""
