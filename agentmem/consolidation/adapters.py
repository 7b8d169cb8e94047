"""Folders of adapters: each immutable, named after its content, holding safetensors and what it descends from.

`ROOT/mem-<digest>/` has what peft and vLLM read, and `lineage.json`. A folder appears whole, by being renamed, and is
never written to again; `ROOT/work-…/` is a cycle under way. Nothing that is a pickle is ever written or read.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentmem.backends.sqlite_files import sync_directory
from agentmem.config import Settings
from agentmem.errors import InputError, ModelError
from agentmem.plugins import scheme_of
from agentmem.types import Namespace

_NAME = re.compile(r"mem-[0-9a-f]{16}")
WEIGHTS, CONFIG, LINEAGE = "adapter_model.safetensors", "adapter_config.json", "lineage.json"
_FILES = frozenset({WEIGHTS, CONFIG, LINEAGE})
_WORK = "work-"
_READ = 1 << 20


def root_of(settings: Settings, namespace: Namespace) -> Path:
    """Where the adapters of a namespace lie: under `adapters` in the settings, else beside the store, else with the
    user's data. A folder a namespace, named by a digest: a name may hold what no path can."""
    digest = hashlib.sha256(json.dumps(namespace).encode()).hexdigest()[:16]
    return _parent(settings) / digest


def _parent(settings: Settings) -> Path:
    if settings.adapters is not None:
        return Path(settings.adapters)
    if scheme_of(settings.store) == "sqlite":
        path = Path(settings.store.removeprefix("sqlite:///")).absolute()
        return path.with_name(path.name + ".adapters")
    from platformdirs import user_data_path

    return user_data_path("agentmem", appauthor=False) / "adapters"


def folder_of(root: Path, name: str) -> Path:
    """The folder of that name. Raises InputError for a name that is none: it comes from a store or a command line, and
    becomes a path and a part of a request."""
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} is no adapter's name: they are mem- and 16 hexadecimal digits")
    return root / name


def base_digest(base: str) -> str:
    """Of a base model's configuration, tokenizer and weights. Raises ModelError where it is not whole, or only has
    weights that are pickles."""
    folder = Path(base)
    weights = sorted(folder.glob("*.safetensors"))
    if not (folder / "config.json").is_file():
        raise ModelError(f"{base} holds no model: give the folder of the base model that is served (--base)")
    if not weights:
        raise ModelError(f"{base} has no weights as safetensors, and others are not read: convert them")
    told = hashlib.sha256()
    for path in (folder / "config.json", folder / "tokenizer.json", *weights):
        if path.is_file():
            told.update(path.name.encode())
            told.update(_digest(path))
    return told.hexdigest()


def _digest(path: Path) -> bytes:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ):
            found.update(block)
    return found.digest()


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def name_for(folder: Path) -> str:
    """The name that a folder's weights and configuration give it."""
    told = hashlib.sha256(_digest(folder / WEIGHTS) + _digest(folder / CONFIG))
    return f"mem-{told.hexdigest()[:16]}"


def publish(work: Path, root: Path, lineage: Mapping[str, Any]) -> Path:
    """Make a finished adapter's folder an immutable one under its name, with its lineage beside it; return it.

    One that is there already, of the same weights, stays as it is.
    """
    folder = folder_of(root, name_for(work))
    if folder.exists():
        shutil.rmtree(work)
        return folder
    (work / LINEAGE).write_text(json.dumps(lineage, indent=1, sort_keys=True) + "\n", "utf-8")
    _only(work)
    for path in work.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.chmod(0o400)
    os.replace(work, folder)
    folder.chmod(0o500)
    sync_directory(root)
    return folder


def _only(folder: Path) -> None:
    """Raises ModelError for a file that has no place in an adapter's folder."""
    strange = sorted({path.name for path in folder.iterdir()} - _FILES)
    if strange:
        raise ModelError(f"{folder} holds {strange[0]}, which is no part of an adapter: it is not loaded")


def check(folder: Path, base: str | None = None) -> None:
    """Raises ModelError where a folder is not what was published under its name: missing, changed, with other files, of
    a kind that vLLM cannot serve, or made for another base than the one with the digest `base`."""
    try:
        _only(folder)
        same = name_for(folder) == folder.name
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        lineage = json.loads((folder / LINEAGE).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"the adapter {folder.name} cannot be read ({error}): consolidate anew") from error
    if not same:
        raise ModelError(f"the adapter {folder.name} was changed since it was made: consolidate anew")
    if config.get("use_dora") or config.get("bias", "none") != "none" or config.get("modules_to_save"):
        raise ModelError(f"the adapter {folder.name} is of a kind that vLLM cannot serve: consolidate anew")
    if base is not None and lineage.get("base_digest") != base:
        raise ModelError(f"the base model has changed since {folder.name} was made: consolidate anew")


def work_folder(root: Path, fingerprint: str) -> Path:
    """Where a cycle works; the same for the same curriculum and recipe, so that it goes on where it was killed."""
    folder = root / f"{_WORK}{fingerprint[:16]}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def tidy(root: Path, keep: Iterable[str]) -> list[str]:
    """Remove what no record names: adapters that a killed cycle left, and other cycles' work. To be called by whoever
    holds the cycle's lock. Returns what was removed."""
    kept = set(keep)
    removed = []
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        ours = _NAME.fullmatch(path.name) or path.name.startswith(_WORK)
        if ours and path.name not in kept:
            remove(path)
            removed.append(path.name)
    return removed


def remove(folder: Path) -> None:
    """Remove a folder, its weights overwritten first. Raises OSError."""
    if not folder.exists():
        return
    folder.chmod(0o700)
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        if path.is_file() and not path.is_symlink():
            _overwrite(path)
    shutil.rmtree(folder)


def _overwrite(path: Path) -> None:
    """Zeros in a file's place, as far as the file system writes where it wrote before."""
    left = path.stat().st_size
    with path.open("r+b") as file:
        while left > 0:
            left -= file.write(bytes(min(left, _READ)))
        file.flush()
        os.fsync(file.fileno())


def remove_all(root: Path, names: Sequence[str]) -> list[Path]:
    """Remove these adapters and every cycle's work, which holds what was to be learned; what could not be removed."""
    unfinished = list(root.glob(f"{_WORK}*")) if root.is_dir() else []
    left = []
    for folder in (*(folder_of(root, name) for name in names), *unfinished):
        try:
            remove(folder)
        except OSError:
            left.append(folder)
    return left
