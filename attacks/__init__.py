"""Attacks on a running service, each with a criterion: `make attack`.

An attack starts its own service on 127.0.0.1, sends hostile requests, measures the effect on other
clients, and compares it with the criterion. The number of requests and the time are limited. The
attacks use no code of the service except the command that starts it.
"""
