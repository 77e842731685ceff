"""One variable changed in a stack's file, every other byte as it was."""

from __future__ import annotations

import pytest

from operate.edit import diff, with_value
from operate.errors import BadInput
from operate.way import way
from tests.operate.pull_requests import EXAMPLE, declared


def edited(text: str, key: str, value: str) -> str:
    return with_value(text, key, value, namespace="internal-tls", where="Pulumi.test.yaml")


def test_every_move_of_the_whole_way_is_one_line_of_the_example_and_back_is_the_same_bytes() -> None:
    text, texts = EXAMPLE, []
    while moves := way(declared("staging", text), "next"):
        texts.append(text)
        after = edited(text, *moves[0])
        lines = [line for line in diff(text, after, "x").splitlines() if line[:1] in "+-"][2:]
        assert len(lines) == 2
        text = after
    assert len(texts) == 20
    while moves := way(declared("staging", text), "back"):
        text = edited(text, *moves[0])
        assert text == texts.pop()


@pytest.mark.parametrize(
    ("text", "key", "value", "wanted"),
    [
        (
            "config:\n  internal-tls:PREPARED: off  # why\n",
            "PREPARED",
            "on",
            "config:\n  internal-tls:PREPARED: on  # why\n",
        ),
        (
            "config:\r\n  internal-tls:PREPARED: 'off'\r\n",
            "PREPARED",
            "on",
            "config:\r\n  internal-tls:PREPARED: 'on'\r\n",
        ),
        ('config: {"internal-tls:PREPARED": "off"}', "PREPARED", "on", 'config: {"internal-tls:PREPARED": "on"}'),
        ("config:\n  PREPARED: off", "PREPARED", "on", "config:\n  PREPARED: on"),
        (
            "config:\n  internal-tls:PREPARED:\n  a:b: c\n",
            "PREPARED",
            "on",
            "config:\n  internal-tls:PREPARED: on\n  a:b: c\n",
        ),
        # What was not written yet gets a line, before comments that follow and at the depth of the others.
        (
            "config:\n  internal-tls:environment: x\n\n# end\nencryptionsalt: v1\n",
            "PREPARED",
            "on",
            "config:\n  internal-tls:environment: x\n  internal-tls:PREPARED: on\n\n# end\nencryptionsalt: v1\n",
        ),
        ("config:\n    a:b: c", "PREPARED", "on", "config:\n    a:b: c\n    internal-tls:PREPARED: on\n"),
        (
            "config:\n  internal-tls:apps:\n    web:\n      services: [a,\n        b]\n  a:b: |\n    text\n",
            "apps.web.REDIS_TLS_ENABLED",
            "true",
            "config:\n  internal-tls:apps:\n    web:\n      services: [a,\n        b]\n      REDIS_TLS_ENABLED: true\n"
            "  a:b: |\n    text\n",
        ),
        (
            "config:\n  internal-tls:apps:\n    web: {drainSeconds: 3}\n",
            "apps.web.REDIS_TLS_ENABLED",
            "true",
            "config:\n  internal-tls:apps:\n    web: {drainSeconds: 3, REDIS_TLS_ENABLED: true}\n",
        ),
        (
            "config:\n  a:b: |\n    text\n",
            "apps.web.REDIS_TLS_ENABLED",
            "true",
            "config:\n  a:b: |\n    text\n  internal-tls:apps:\n    web:\n      REDIS_TLS_ENABLED: true\n",
        ),
    ],
)
def test_the_value_alone_changes(text: str, key: str, value: str, wanted: str) -> None:
    assert edited(text, key, value) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "config:\n  internal-tls:PREPARED: &off off\n  internal-tls:POSTGRES_TLS_ENABLED: *off\n",
        "config:\n  internal-tls:PREPARED: |\n    off\n",
        "config: {}\n",
        "encryptionsalt: v1\n",
    ],
)
def test_what_one_line_can_not_say_is_left_to_the_operator(text: str) -> None:
    with pytest.raises(BadInput, match="pulumi config set"):
        edited(text, "PREPARED", "on")


def test_the_diff_is_one_that_git_applies() -> None:
    after = edited(EXAMPLE, "PREPARED", "on")
    assert diff(EXAMPLE, after, "Pulumi.staging.yaml").startswith(
        "--- a/Pulumi.staging.yaml\n+++ b/Pulumi.staging.yaml\n@@"
    )
    assert "\\ No newline at end of file" in diff("a: 1", "a: 2", "x")
