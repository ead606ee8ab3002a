"""Which files a program reads and writes, seen while it runs and without its doing.

Three means, from the best to the one that needs nothing: a library that is loaded before libc (`shim.c`),
strace, and an audit hook in Python (`hook/`). All three tell events; what these mean is the same for all.
"""

INCOMPLETE = "incomplete"
"""The file, beside the logs, that tells that some events could not be written down."""
NOT_THE_PROGRAMS = "ours."
"""Begins the names of files, beside the logs, that end with the id of a process that does not count."""
