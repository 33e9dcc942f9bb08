"""Fuzzers: one for each parser that meets foreign bytes.

``python -m tests.fuzz TARGET --seconds N`` feeds a parser with damaged golden files, guided by
coverage (atheris). It stops at the first input that raises anything but our own errors, takes
more than a second or half a gigabyte. ``python -m tests.fuzz --list`` names the targets.
"""
