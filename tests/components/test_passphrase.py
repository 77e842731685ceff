"""Where the passphrase comes from, and that its value is never told."""

from pathlib import Path

import pytest

from components.passphrase import NoPassphrase, sealing_passphrase


def test_projects_own_passphrase_comes_before_pulumis() -> None:
    pulumis = {"PULUMI_CONFIG_PASSPHRASE": "theirs"}
    assert sealing_passphrase(pulumis) == "theirs"
    assert sealing_passphrase(pulumis | {"INTERNAL_TLS_SEALING_PASSPHRASE": "ours"}) == "ours"


def test_passphrase_may_stand_in_the_first_line_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_text("from the file\nsecond line\n")
    assert sealing_passphrase({"PULUMI_CONFIG_PASSPHRASE_FILE": str(file)}) == "from the file"


@pytest.mark.parametrize("environ", [{}, {"PULUMI_CONFIG_PASSPHRASE": ""}], ids=["unset", "empty"])
def test_without_a_passphrase_nothing_is_sealed_and_the_error_says_what_to_set(environ: dict[str, str]) -> None:
    with pytest.raises(NoPassphrase, match="set INTERNAL_TLS_SEALING_PASSPHRASE to"):
        sealing_passphrase(environ)


@pytest.mark.parametrize(("content", "why"), [(None, "can't be read"), (b"", "is empty"), (b"\xff", "it is no text")])
def test_file_without_a_passphrase_is_refused_by_name(tmp_path: Path, content: bytes | None, why: str) -> None:
    file = tmp_path / "passphrase"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(NoPassphrase, match=why) as refused:
        sealing_passphrase({"INTERNAL_TLS_SEALING_PASSPHRASE_FILE": str(file)})
    assert str(file) in str(refused.value)
