"""Tools that benchmarks, attacks, fuzzing, evaluation, training and tests share.

They start the service, measure its processes, run nginx in front of it, write image files that
libraries cannot write, compare boxes, and write Markdown tables. This package imports `app` and
none of the packages that use it; import-linter checks that.
"""
