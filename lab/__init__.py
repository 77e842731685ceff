"""The lab: the real servers and two hosts on one machine, for the demo, the tests and the benches.

Hosts are containers with an SSH server, the servers are the real ones, Secrets Manager is moto's. What stands in for
something else is labelled STAND-IN where it is defined.
"""
