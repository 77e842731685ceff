"""The pure core: the variables, the ordered table of steps, the rules, and what each host is told.

Nothing here imports Pulumi, does I/O or reads the clock (`tests/unit/test_purity.py` holds it so).
"""
