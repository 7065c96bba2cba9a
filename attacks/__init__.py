"""Attacks on a running service, each compared with a bar: `make attack`.

Each attack starts its own service on 127.0.0.1, sends what an attacker would send, measures the
effect on other clients, and compares it with its bar. The number of requests and the time are
limited. Attacks use no code of the service except the command that starts it.
"""
