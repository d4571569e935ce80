"""The services of the guides in Go and Java: built and run as they stand."""

import asyncio
import os
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

import pytest
from breezeway_server.agents.steps import TextDelta

from tests.client.host import Host
from tests.client.test_examples import AnnouncingAgent
from tests.deploy.asking import ask
from tests.guides.blocks import ROOT, only
from tests.support.building import googleapis
from tests.support.system import ReservedPort, System, wait_until_listened_on

_BUILD = ROOT / "build" / "guides"


def _need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def _run(directory: Path, command: list[str], environ: Mapping[str, str]) -> str:
    done = subprocess.run(
        command, cwd=directory, env={**os.environ, **environ}, capture_output=True, text=True, check=False, timeout=570
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(300)
def test_the_go_service_answers(system: System) -> None:
    _need("go")
    directory = _BUILD / "go"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "main.go").write_text(only("go-services", "go", "// main.go"), encoding="utf-8")
    (directory / "build.sh").write_text(only("go-services", "sh", "# build.sh"), encoding="utf-8")
    protoc = f"{sys.executable} -m grpc_tools.protoc"
    environ = {"BREEZEWAY": str(ROOT), "GOOGLEAPIS": str(googleapis()), "PROTOC": protoc, "CGO_ENABLED": "0"}
    _run(directory, ["sh", "build.sh"], environ)
    with ReservedPort.reserved() as port:
        address = f"127.0.0.1:{port.number}"
        process = subprocess.Popen([directory / "service", system.grpc_target, address])
        try:
            wait_until_listened_on(port.number, process)
            assert "42" in ask(f"http://{address}/ask?q={urllib.parse.quote('What is 6 * 7?')}")
        finally:
            process.kill()
            process.wait(30)


# Maven fetches a hundred packages the first time.
@pytest.mark.timeout(600)
async def test_the_java_client_prints_the_whole_answer_over_a_crash_of_the_server(tmp_path: Path) -> None:
    _need("mvn", "javac")
    directory = _BUILD / "java"
    source = directory / "src" / "main" / "java" / "com" / "example" / "Ask.java"
    source.parent.mkdir(parents=True, exist_ok=True)
    _write(source, only("java-services", "java"))
    if _write(directory / "pom.xml", only("java-services", "xml").removeprefix("<!-- pom.xml -->\n")):
        # What another version of a plugin made of the protos is no younger than they are.
        await asyncio.to_thread(shutil.rmtree, directory / "target", ignore_errors=True)
    # These programs live for seconds: to compile their code well would take longer than to run it.
    environ = {"PROTOS": str(ROOT / "protos"), "MAVEN_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}
    await asyncio.to_thread(_run, directory, ["mvn", "-q", "-B", "compile"], environ)
    scripted = AnnouncingAgent()
    async with Host.serving(tmp_path, scripted) as host:
        process = await asyncio.create_subprocess_exec(
            *("mvn", "-q", "-B", "exec:java", f"-Dexec.args={host.target} scripted hello"),
            cwd=directory,
            env={**os.environ, **environ},
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            script = scripted.script(await scripted.begun.get())
            script.say(TextDelta("before "))
            await process.stdout.readuntil(b"before ")
            await host.crash()
            await host.start()
            script.say(TextDelta("after"))
            script.end()
            assert (await process.stdout.read()).startswith(b"after\n")
            assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _write(path: Path, text: str) -> bool:
    """Leave a file that says the same alone, so that it is not compiled again. Whether it said something else."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.write_text(text, encoding="utf-8")
    return True
