"""The operator's command: `python -m operate`. It reads and tells; nothing imports it."""
