"""Measurements, never run as tests: `make bench` writes `build/bench.json`."""
