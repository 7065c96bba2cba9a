"""Shared tools of benchmarks, attacks, fuzzing, evaluation, training and tests.

They start the service, measure processes, run nginx as a proxy, write image files that libraries
cannot write, match boxes, and write Markdown tables. This package imports only `app`, and none of
the packages that use it; import-linter checks this.
"""
