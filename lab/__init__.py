"""The lab: the real servers, eight hosts and their apps on one machine, for the demo, the tests and the benches.

Hosts are containers with an SSH server; servers, Kamailio, HAProxy and the OpenTelemetry collector are the real ones;
the apps are small but real services; Secrets Manager is moto's. What stands in for something else is labelled STAND-IN
where it is defined.
"""
