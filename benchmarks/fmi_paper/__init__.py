"""FMI's experiment on local servers, with FMI's ways of doing it as a baseline beside ours; ``make bench-paper``."""
