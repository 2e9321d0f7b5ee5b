"""Java, and what Maven fetches for it: Kafka's libraries, and connectors for Kafka Connect.

Both come from PATH. Maven keeps what it downloads in the user's own repository, so that another
checkout need not fetch it again; what servers run from is copied into our folder.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from compose.local import places
from compose.local.errors import LocalStackError, Unavailable
from compose.local.processes import run

OLDEST = 17
"""The Java that Kafka 4's brokers need."""
KAFKA = "4.3.0"
LIBRARIES = (
    f"org.apache.kafka:kafka_2.13:{KAFKA}",
    f"org.apache.kafka:kafka-tools:{KAFKA}",
    f"org.apache.kafka:connect-runtime:{KAFKA}",
    f"org.apache.kafka:connect-json:{KAFKA}",
    "org.slf4j:slf4j-simple:1.7.36",  # else Connect logs nothing; the version is Kafka's slf4j-api
)
CONNECTORS = {
    "mysql": "io.debezium:debezium-connector-mysql:3.6.1.Final:tar.gz:plugin",
    # the last one that Maven's central repository has
    "mariadb": "io.debezium:debezium-connector-mariadb:3.5.0.Final:tar.gz:plugin",
    # the archive has PostgreSQL's driver in it
    "jdbc": "io.debezium:debezium-connector-jdbc:3.6.0.Final:tar.gz:plugin",
}
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"


@functools.cache
def java() -> tuple[Path, str]:
    """The java to run and its version; Unavailable where there is none, or an old one only."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin" if home else None)
    hint = f"install Java {OLDEST} or later (such as default-jre-headless)"
    if found is None:
        raise Unavailable(f"no java on PATH: {hint}")
    asked = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "((\d+)[^"]*)"', asked.stderr)
    if version is None or int(version[2]) < OLDEST:
        raise Unavailable(f"{found} is {version[1] if version else 'broken'}: {hint}")
    return Path(found), version[1]


def libraries() -> Path:
    """The folder with the jars of Kafka and Kafka Connect, fetched if need be."""
    digest = hashlib.sha256(" ".join(LIBRARIES).encode()).hexdigest()[:8]

    def fetch(folder: Path) -> None:
        pom = folder / "pom.xml"
        pom.write_text(_pom())
        _maven(f"{PLUGIN}:copy-dependencies", "-f", str(pom), f"-DoutputDirectory={folder}")
        pom.unlink()

    return _once(f"libraries-{KAFKA}-{digest}", fetch)


def connector(name: str) -> Path:
    """The folder of a connector's plugin, fetched if need be; for Connect's ``plugin.path``."""
    artifact = CONNECTORS[name]

    def fetch(folder: Path) -> None:
        _maven(f"{PLUGIN}:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}")
        archive = next(folder.glob("*.tar.gz"))
        run(["tar", "-xzf", archive, "-C", folder, "--no-same-owner"])
        archive.unlink()

    _, title, version, *_ = artifact.split(":")
    return _once(f"{title}-{version}", fetch)


def _pom() -> str:
    """A project that depends on the libraries, and is nothing else."""
    dependencies = "".join(
        "<dependency><groupId>{}</groupId><artifactId>{}</artifactId>"
        "<version>{}</version></dependency>".format(*one.split(":"))
        for one in LIBRARIES
    )
    return (
        "<project><modelVersion>4.0.0</modelVersion><groupId>local</groupId>"
        "<artifactId>kafka</artifactId><version>1</version>"
        f"<dependencies>{dependencies}</dependencies></project>"
    )


def _once(name: str, fetch: Callable[[Path], None]) -> Path:
    """A folder that appears when it is complete."""
    folder = places.folder("java") / name
    if folder.exists():
        return folder
    with places.locked(f"java-{name}"):
        if not folder.exists():
            partial = folder.with_name(f"{name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            fetch(partial)
            partial.rename(folder)
    return folder


def _maven(*words: str) -> None:
    """One run of Maven at a time: two of them would spoil each other's downloads."""
    java()
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable("no mvn on PATH: install Maven (such as the package maven)")
    with places.locked("maven"):
        try:
            run([maven, "--batch-mode", "--quiet", *words])
        except LocalStackError as error:
            told = [line for line in str(error).splitlines() if line.startswith("[ERROR]")]
            hint = "try again where Maven's central repository, or a mirror of it, can be reached"
            raise Unavailable(f"mvn: {''.join(told[:1])[:300]}; {hint}") from error
