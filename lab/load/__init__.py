"""The load: what clients of the apps and the servers do all day. Runs in the container `load` as a program of its own,
copied there.

    python3 -m load --directory /lab/load/run --passwords /lab/load --targets /lab/load/run/targets.json --seconds 600

Users of the apps ask each app's proxy. Clients of PostgreSQL go through PgBouncer: short transactions on connections
that are kept for a while, long transactions, sessions that stay connected and say little, and clients that connect
anew each time; a backup and an exporter go to PostgreSQL itself. Clients of Redis set and get, on kept connections and
on new ones. SIP transactions go to telpro. **Nobody retries**, but for SIP over UDP, whose client sends again as
RFC 3261 demands. A client whose connection broke opens another one for its *next* request, and the time that takes is
part of that request's latency.

Written to the directory, one JSON object a line, whole and in the order in which they ended:

    requests.jsonl  {"kind", "start", "ms", "intended_ms", "ok", "error"}
    lag.jsonl       {"start", "ms"}: how late this process itself was, its worst in each second
    status.json     {"state": "running" | "finished", "started", "control", "ended"}, ended only when finished

`start` is Unix time in seconds, taken from the monotonic clock, so that it never jumps. `intended_ms` is what a request
is meant to take (a long transaction sleeps): what counts as latency is what it took beyond that.
Read from the directory: `control.json` (`load.control`); a file `stop` ends the load, and each request that is under
way is completed first. Passwords are read from the files `postgres_password` and `redis_password`.
"""
