"""The data folder of the embedded default: lock, key, database file, and the URLs that follow from it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_urlsafe

import msgspec

from scaiqueue.embedded.valkey import EmbeddedError, EmbeddedValkey
from scaiqueue.settings import Settings, SettingsError


class DataFolder:
    """Where `scaiqueue dev` keeps everything. Readable by its owner only."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().absolute()
        self.valkey = EmbeddedValkey(self.path)
        self.database = self.path / "scaiqueue.db"
        self.key_file = self.path / "api-key"
        self._lock_file = self.path / "lock"

    @property
    def database_url(self) -> str:
        return f"sqlite+aiosqlite:///{self.database}"

    def create(self) -> None:
        """Make the folder. Raises SettingsError when that is impossible."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"SCAIQUEUE_DATA_DIR: {self.path} cannot be made ({error.strerror}): name another"
            ) from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder. Raises EmbeddedError when another `scaiqueue dev` has it."""
        self.create()
        descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise EmbeddedError(
                    f"another `scaiqueue dev` uses {self.path}: end it, or name another --data-dir"
                ) from None
            yield
        finally:
            os.close(descriptor)

    def empty(self) -> None:
        """Remove the queue's own files (not the lock, not files of others)."""
        shutil.rmtree(self.valkey.folder, ignore_errors=True)
        for file in (self.key_file, *self.path.glob(f"{self.database.name}*")):
            file.unlink(missing_ok=True)

    def read_key(self) -> str:
        """The API key kept here, or ""."""
        try:
            return self.key_file.read_text().strip()
        except OSError:
            return ""

    def key(self) -> str:
        """The API key kept here, made at the first call: `sgk_` and 43 random characters, mode 0600."""
        if kept := self.read_key():
            return kept
        made = "sgk_" + token_urlsafe(32)
        descriptor = os.open(self.key_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(made + "\n")
        return made


def with_embedded(settings: Settings) -> Settings:
    """Fill in what is not set: the servers of the data folder, whether they run or not."""
    folder = DataFolder(settings.data_dir)
    redis_url = settings.redis_url or folder.valkey.url
    return msgspec.structs.replace(
        settings,
        redis_url=redis_url,
        database_url=settings.database_url or folder.database_url,
        saq_redis_url=settings.saq_redis_url or redis_url,
        api_key=settings.api_key or folder.read_key(),
    )


def to_environment(settings: Settings) -> dict[str, str]:
    """The settings as `SCAIQUEUE_*` variables, for child processes."""
    values = msgspec.structs.asdict(settings)
    return {f"SCAIQUEUE_{name.upper()}": str(value) for name, value in values.items()}
