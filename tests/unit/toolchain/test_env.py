"""The environment in which `pulumi` works: stand-ins on PATH only beside the engine that we built."""

import os
import subprocess
from pathlib import Path

from toolchain import env
from toolchain.engine import Engine, Variant
from toolchain.paths import STAND_INS


def engine(variant: Variant) -> Engine:
    return Engine(variant=variant, version="3.250.0", bin=Path("/engine"), origin="a test")


def test_stand_ins_are_on_path_only_with_the_built_engine() -> None:
    built = env.variables(engine("built"), path="/usr/bin:/bin")
    official = env.variables(engine("official"), path="/usr/bin:/bin")
    assert str(STAND_INS) in built["PATH"].split(os.pathsep)
    assert str(STAND_INS) not in official["PATH"].split(os.pathsep)
    assert built["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] == "true"
    assert "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION" not in official


def test_the_engine_comes_before_whatever_else_is_on_path_and_nothing_is_there_twice() -> None:
    path = env.variables(engine("official"), path="/usr/bin:/engine:/bin")["PATH"].split(os.pathsep)
    assert path[-2:] == ["/usr/bin", "/bin"]
    assert path.count("/engine") == 1


def test_export_lines_survive_a_shell() -> None:
    text = env.exports([Path("/a folder/it's")], {"X": "a 'quoted' $value"})
    shown = subprocess.run(
        ["sh", "-c", f'PATH=/usr/bin:/bin\n{text}\nprintf \'%s\\n\' "$PATH" "$X"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.splitlines() == ["/a folder/it's:/usr/bin:/bin", "a 'quoted' $value"]
