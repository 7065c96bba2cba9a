"""Attacks on the real service, from outside, each with a bar that must hold: `make attack`.

Each attack starts a service of its own on 127.0.0.1, does what an attacker would do, measures what
other clients notice, and compares it with its bar. Everything is bounded in number and time. No
code of the service is used but the command that starts it.
"""
