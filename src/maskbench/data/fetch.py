"""Downloads published data sets: resumable, checked, whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from maskbench.data.catalog import DataSet, find_data_set
from maskbench.data.unpack import unpack
from maskbench.errors import DataError

#: Called with the bytes at hand and the total, where the server tells it.
Progress = Callable[[int, int | None], None]

_CHUNK = 1 << 20


def fetch(
    name: str | DataSet,
    root: str | Path,
    *,
    offline: bool | None = None,
    progress: Progress | None = None,
    attempts: int = 3,
    timeout: float = 30.0,
) -> Path:
    """Downloads a catalog data set below ``root`` and returns the path to import.

    Files go to ``<root>/downloads/<name>/``; archives are unpacked to ``.../files`` and then removed. What is already
    there is not downloaded again. A broken download stays as ``<file>.part`` and is resumed.

    offline:  refuse to touch the network; None asks the environment variable ``MASKBENCH_OFFLINE``.
    attempts: connections to try before giving up.
    timeout:  seconds without an answer after which a connection counts as broken.

    Raises DataError when offline, without a network, for data sets that must be fetched by hand, and for downloads that
    disagree with the published size or checksum.
    """
    data = find_data_set(name) if isinstance(name, str) else name
    if data.url is None or data.file is None:
        raise DataError(f"'{data.name}' has no single file to download. By hand: {data.manual} (see {data.homepage})")
    folder = Path(root) / "downloads" / data.name
    file, files = folder / data.file, folder / "files"
    done = files if data.unpack else file
    if done.exists():
        return done
    by_hand = f"Download it elsewhere ({data.url}) and set dataset.path= to it"
    if not file.exists():
        if _offline() if offline is None else offline:
            raise DataError(f"'{data.name}' is not in {folder}, and downloads are off (MASKBENCH_OFFLINE). {by_hand}")
        folder.mkdir(parents=True, exist_ok=True)
        part = file.with_name(file.name + ".part")
        _download(data, part, progress, attempts, timeout, by_hand)
        _verify(data, part)
        os.replace(part, file)
        _etag(part).unlink(missing_ok=True)
    if data.unpack:
        unpack(file, data.unpack, files)
        file.unlink()
    return done


def _offline() -> bool:
    return os.environ.get("MASKBENCH_OFFLINE", "").lower() not in ("", "0", "false", "no")


def _etag(part: Path) -> Path:
    """Remembers which version of the remote file a partial download belongs to."""
    return part.with_name(part.name + ".etag")


def _download(data: DataSet, part: Path, progress: Progress | None, attempts: int, timeout: float, by_hand: str) -> None:
    """Fills ``part``, going on where an earlier attempt stopped."""
    reason = ""
    for _ in range(attempts):
        try:
            if _attempt(str(data.url), part, progress, timeout):
                return
            reason = f"the connection ended after {part.stat().st_size} bytes"
        except urllib.error.HTTPError as error:
            if error.code == 416:  # nothing lies beyond what is there: a whole file, or a stale part
                if error.headers.get("Content-Range") == f"bytes */{part.stat().st_size}":
                    return
                part.unlink(missing_ok=True)
                reason = "the partial file did not fit the server's"
                continue
            if error.code < 500:
                raise DataError(f"{data.url}: the server answered {error.code} {error.reason}. {by_hand}") from error
            reason = f"the server answered {error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
    kept = f" {part.stat().st_size} bytes are kept and the same command resumes." if part.exists() else ""
    raise DataError(f"'{data.name}' could not be downloaded: {reason}.{kept} {by_hand}")


def _attempt(url: str, part: Path, progress: Progress | None, timeout: float) -> bool:
    """One connection; True when the file is whole as far as the server tells."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "maskbench"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        if _etag(part).exists():
            request.add_header("If-Range", _etag(part).read_text("utf-8"))
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        resumed = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        have = have if resumed else 0
        length = answer.headers.get("Content-Length")
        total = None if length is None else have + int(length)
        if tag := answer.headers.get("ETag"):
            _etag(part).write_text(tag, "utf-8")
        else:
            _etag(part).unlink(missing_ok=True)
        with part.open("ab" if resumed else "wb") as out:
            while chunk := answer.read(_CHUNK):
                out.write(chunk)
                have += len(chunk)
                if progress is not None:
                    progress(have, total)
    return total is None or have >= total


def _verify(data: DataSet, part: Path) -> None:
    """Size and checksum as published; a file that disagrees is removed."""
    found = part.stat().st_size
    if data.size is not None and found != data.size:
        part.unlink()
        raise DataError(f"'{data.name}': expected {data.size} bytes; found {found}. The file was removed, fetch it again")
    if data.checksum is None:
        return
    kind, _, expected = data.checksum.partition(":")
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, kind).hexdigest()
    if digest != expected.lower():
        part.unlink()
        raise DataError(f"'{data.name}': expected {kind} {expected}; found {digest}. The file was removed, fetch it again")
