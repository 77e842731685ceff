"""The rules are the truth about the servers: every combination is tried on real ones."""

from datetime import UTC, datetime

from lab import images
from proof.__main__ import Tried
from proof.certificates import material
from proof.matrix import combinations
from proof.servers import Servers
from toolchain.progress import part


def test_every_combination_is_usable_exactly_where_the_rules_allow_it() -> None:
    images.ensure(part)
    issued = material()
    with Servers(material=issued) as servers:
        tried = [Tried(combination=one, answer=servers.tried(one)) for one in combinations(issued, datetime.now(UTC))]
    assert [f"{one.combination.title}: {one.answer}" for one in tried if not one.agrees] == []
    assert len(tried) == 63
