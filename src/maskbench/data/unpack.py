"""Unpacking archives from elsewhere: everything stays inside the target folder, nothing but files and folders."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from maskbench.errors import DataError


def unpack(archive: Path, kind: str, target: Path) -> None:
    """Unpacks a ``zip`` or ``tar`` archive into the new folder ``target``, whole or not at all.

    Raises DataError for members that are absolute, climb out of the folder, or are links or devices, before anything is
    written; and for corrupt archives.
    """
    temporary = target.with_name(target.name + ".unpacking")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        (_unpack_zip if kind == "zip" else _unpack_tar)(archive, temporary)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, zlib.error) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise DataError(
            f"{archive}: expected a {kind} archive; it cannot be unpacked ({error}). Remove it and fetch it again"
        ) from error
    os.replace(temporary, target)


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            mode = info.external_attr >> 16
            _inside(archive, info.filename, plain=stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR))
        file.extractall(folder)


def _unpack_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as file:
        members = file.getmembers()
        for member in members:
            _inside(archive, member.name, plain=member.isfile() or member.isdir())
        file.extractall(folder, members, filter="data")


def _inside(archive: Path, name: str, *, plain: bool) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if not plain:
        raise DataError(f"{archive}: member '{name}' is a link or device; expected plain files. Nothing was unpacked")
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"{archive}: member '{name}' leaves the target folder. Nothing was unpacked")
