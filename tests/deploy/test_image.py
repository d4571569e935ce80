"""The image: what the Dockerfile copies builds a wheel, and the commands in it do what they should."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from pathlib import Path

from tests.deploy.files import DEPLOY, ROOT
from tests.support.system import System

_DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")
_COPIED = [
    name for line in re.findall(r"^COPY (?!--from)(.+)$", _DOCKERFILE, re.MULTILINE) for name in line.split()[:-1]
]


def _health_check() -> list[str]:
    found = re.search(r"^HEALTHCHECK .*?CMD (\[.*?\])$", _DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert found is not None
    _, *arguments = json.loads(found[1])
    return [sys.executable, *arguments]


def _is_well(system: System) -> bool:
    """What the image's health check says of that system."""
    program, option, code = _health_check()
    mine = code.replace("http://127.0.0.1:8642", system.url)
    assert mine != code
    return subprocess.run([program, option, mine], capture_output=True, check=False, timeout=30).returncode == 0


def test_the_dockerfile_has_no_faults() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, "-"], input=_DOCKERFILE, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_is_let_through_by_dockerignore_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in lines if line.startswith("!")} == set(_COPIED)


def test_what_is_copied_builds_a_wheel_with_stubs_of_its_own(tmp_path: Path) -> None:
    generated = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi", "__pycache__")
    source = tmp_path / "source"
    source.mkdir()
    for name in _COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns(*generated))
        else:
            shutil.copy(ROOT / name, source)
    # What the isolated build would install is here already.
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        ".",
    ]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(fnmatch(name, "breezeway/v1/*_pb2_grpc.py") for name in names)
    assert "breezeway_server/cli/main.py" in names
    assert "breezeway_shim/app.py" in names


def test_the_health_check_tells_a_system_that_serves_from_one_that_does_not(tmp_path: Path) -> None:
    with System.serving(tmp_path) as system:
        assert _is_well(system)
        system.terminate()
        assert not _is_well(system)


def test_it_does_not_run_as_root_and_keeps_its_data_on_a_volume() -> None:
    assert re.search(r"^USER 10001:10001$", _DOCKERFILE, re.MULTILINE)
    (volume,) = re.findall(r"^VOLUME (\S+)$", _DOCKERFILE, re.MULTILINE)
    assert f"BREEZEWAY_DATA_DIR={volume}" in _DOCKERFILE
