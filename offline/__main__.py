"""`python offline MODULE ARGUMENTS…`: starts one stand-in; called by the wrappers in bin/.

Start-up is paid by every `pulumi preview`, and two thirds of it would be importing the SDK's `pulumi` package
for the sake of its gRPC stubs. So the packages above the stubs are entered as empty shells with the right
search path, and importing `pulumi.runtime.proto.provider_pb2` runs that one file (0.15 s instead of 0.4 s).
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

STAND_INS = ("language_host", "command_provider", "aws_provider")


def shell_package(name: str, directory: Path) -> None:
    """Enter an empty package that finds its submodules in `directory`."""
    module = ModuleType(name)
    module.__path__ = [str(directory)]
    sys.modules[name] = module


def skip_sdk_import() -> None:
    spec = importlib.util.find_spec("pulumi")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("stand-in: the Pulumi SDK is missing from the project's virtual environment (make setup)")
    sdk = Path(spec.submodule_search_locations[0])
    shell_package("pulumi", sdk)
    shell_package("pulumi.runtime", sdk / "runtime")
    shell_package("pulumi.runtime.proto", sdk / "runtime" / "proto")


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in STAND_INS:
        raise SystemExit(f"usage: python offline {{{'|'.join(STAND_INS)}}} ENGINE_ADDRESS")
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    skip_sdk_import()
    importlib.import_module(f"offline.{sys.argv[1]}").main(sys.argv[2:])


if __name__ == "__main__":
    main()
