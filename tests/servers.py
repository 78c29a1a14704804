"""Real servers for tests: started on demand, private to the session, stopped by process id."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_POSTGRES = (
    "PostgreSQL is not installed; install it with: apt-get install postgresql, or set KUSTOS_TEST_POSTGRES_URL"
)


def postgres_binaries() -> Path | None:
    """Folder of `initdb` and `postgres`, the newest if there are several; None if PostgreSQL is not installed."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return installed[-1].parent if installed else None


@contextmanager
def postgres(binaries: Path) -> Iterator[str]:
    """SQLAlchemy URL of a new PostgreSQL on a Unix socket of its own. As root it runs under `nobody`, which it demands."""
    with tempfile.TemporaryDirectory(prefix="kustos-pg-") as name:
        folder = Path(name)
        demote: dict[str, int] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            demote = {"user": nobody.pw_uid, "group": nobody.pw_gid}
        data = folder / "data"
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "kustos", "-A", "trust", "--no-sync", "--locale=C.UTF-8"],
            check=True, capture_output=True, cwd=folder, **demote,
        )  # fmt: skip
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder, **demote,
        )  # fmt: skip
        try:
            _await_ready(server)
            yield f"postgresql+psycopg://kustos@/postgres?host={folder}"
        finally:
            server.terminate()
            server.wait(timeout=30)


def _await_ready(server: subprocess.Popen[bytes]) -> None:
    assert server.stderr is not None
    for line in server.stderr:
        if b"ready to accept connections" in line:
            return
    raise RuntimeError(f"PostgreSQL ended with status {server.wait()}")
