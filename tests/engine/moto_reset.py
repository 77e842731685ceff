"""moto's backends are one for all its servers in a process: what another module left there is removed first."""

from urllib.request import Request, urlopen


def forget_all(url: str) -> None:
    """Empty moto at `url` (http://127.0.0.1:PORT)."""
    with urlopen(Request(f"{url}/moto-api/reset", method="POST"), timeout=10):
        pass
