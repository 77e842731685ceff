"""Where things lie. Everything but `ROOT`'s own files is ignored by git and may be deleted at any time."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

VENV = ROOT / ".venv"
BUILD = ROOT / "build"
TOOLS = ROOT / ".tools"

LOGS = TOOLS / "log"
ENGINE = TOOLS / "engine"
PULUMI_HOME = TOOLS / "pulumi-home"
DOCKER = TOOLS / "docker"
PIP_CACHE = TOOLS / "pip-cache"
COLLECTOR = TOOLS / "collector"
GO = TOOLS / "go"
GO_CACHE = TOOLS / "go-cache"

ENGINE_MODULE = ROOT / "toolchain" / "engine"
COLLECTOR_MODULE = ROOT / "toolchain" / "collector"
STAND_INS = ROOT / "offline" / "bin"
REQUIREMENTS = ROOT / "requirements-dev.txt"
PROJECT_FILE = ROOT / "Pulumi.yaml"
