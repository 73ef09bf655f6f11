"""Downloads against a server on loopback: resuming, checking, refusing."""

from __future__ import annotations

import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maskbench.data.catalog import DataSet
from maskbench.data.fetch import fetch
from maskbench.errors import DataError

BODY = bytes(range(256)) * 400


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files``; answers number ``i`` stop after ``cuts[i]`` bytes; remembers the ranges that were asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"/data.bin": BODY}
        self.cuts: list[int] = []
        self.ranges: list[str | None] = []
        self.etag = "v1"

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = self.server.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        asked, start = self.headers.get("Range"), 0
        self.server.ranges.append(asked)
        if asked and self.headers.get("If-Range", self.server.etag) == self.server.etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.send_header("ETag", self.server.etag)
        self.end_headers()
        cut = self.server.cuts.pop(0) if self.server.cuts else len(body)
        self.wfile.write(body[start : start + cut])

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASKBENCH_OFFLINE", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def data_set(url: str | None, **changes: object) -> DataSet:
    fields: dict = {
        "name": "toy/set", "title": "Toy", "system": "-", "format": "bet", "homepage": "http://127.0.0.1", "url": url,
        "file": url and url.rsplit("/", 1)[1], "unpack": None, "size": None, "size_note": None, "licence": "MIT",
        "checksum": None, "manual": None, "notes": "",
    }  # fmt: skip
    return DataSet(**{**fields, **changes})


def test_a_download_lands_whole_reports_progress_and_is_not_repeated(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    checksum = "sha256:" + hashlib.sha256(BODY).hexdigest()
    data = data_set(server.url("data.bin"), size=len(BODY), checksum=checksum)
    path = fetch(data, tmp_path, progress=lambda have, total: seen.append((have, total)))
    assert path == tmp_path / "downloads/toy/set/data.bin"
    assert path.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY))
    assert [p.name for p in path.parent.iterdir()] == ["data.bin"]
    assert fetch(data, tmp_path, offline=True) == path
    assert len(server.ranges) == 1


def test_a_cut_connection_is_resumed_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.cuts = [1000, 5000]
    path = fetch(data_set(server.url("data.bin")), tmp_path)
    assert path.read_bytes() == BODY
    assert server.ranges == [None, "bytes=1000-", "bytes=6000-"]


def test_a_later_call_resumes_what_an_earlier_one_left(server: Server, tmp_path: Path) -> None:
    server.cuts = [1000]
    data = data_set(server.url("data.bin"))
    with pytest.raises(DataError, match=r"ended after 1000 bytes.*1000 bytes are kept.*set dataset\.path="):
        fetch(data, tmp_path, attempts=1)
    assert fetch(data, tmp_path).read_bytes() == BODY
    assert server.ranges == [None, "bytes=1000-"]


def test_a_file_that_changed_meanwhile_is_downloaded_afresh(server: Server, tmp_path: Path) -> None:
    server.cuts = [1000]
    data = data_set(server.url("data.bin"))
    with pytest.raises(DataError):
        fetch(data, tmp_path, attempts=1)
    server.etag, server.files["/data.bin"] = "v2", BODY[::-1]
    assert fetch(data, tmp_path).read_bytes() == BODY[::-1]


@pytest.mark.parametrize("extra", [b"", b"stale"])
def test_a_whole_or_overlong_part_is_settled(server: Server, tmp_path: Path, extra: bytes) -> None:
    part = tmp_path / "downloads/toy/set/data.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(BODY + extra)
    assert fetch(data_set(server.url("data.bin")), tmp_path).read_bytes() == BODY
    assert len(server.ranges) == (2 if extra else 1)


@pytest.mark.parametrize(
    ("changes", "message"), [({"checksum": "md5:00ff"}, "expected md5 00ff"), ({"size": 7}, "expected 7 bytes; found 102400")]
)
def test_a_wrong_checksum_or_size_is_refused_and_leaves_nothing(
    server: Server, tmp_path: Path, changes: dict, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        fetch(data_set(server.url("data.bin"), **changes), tmp_path)
    assert not [p for p in tmp_path.rglob("*.bin*") if not p.name.endswith(".etag")]


def test_offline_refuses_and_names_the_way_round(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKBENCH_OFFLINE", "1")
    with pytest.raises(DataError, match=r"downloads are off \(MASKBENCH_OFFLINE\).*dataset\.path="):
        fetch(data_set(server.url("data.bin")), tmp_path)
    assert server.ranges == []
    assert fetch(data_set(server.url("data.bin")), tmp_path, offline=False).read_bytes() == BODY


def test_a_missing_file_on_the_server_is_not_retried(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the server answered 404.*dataset\.path="):
        fetch(data_set(server.url("gone.bin")), tmp_path)


def test_no_network_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"could not be downloaded: .*refused.*dataset\.path="):
        fetch(data_set("http://127.0.0.1:9/data.bin"), tmp_path)


def test_manual_data_sets_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"git clone https://huggingface\.co/datasets/fangchenliu/maskdp_data"):
        fetch("maskdp", tmp_path)


def zipped(name: str, link: bool = False) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        info = zipfile.ZipInfo(name)
        info.external_attr = (0o120777 if link else 0o100644) << 16
        file.writestr(info, "/etc/passwd" if link else "hello")
    return out.getvalue()


def tarred(name: str, link: bool = False) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as file:
        info = tarfile.TarInfo(name)
        if link:
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        info.size = 0 if link else 5
        file.addfile(info, None if link else io.BytesIO(b"hello"))
    return out.getvalue()


ARCHIVES = pytest.mark.parametrize(("kind", "make"), [("zip", zipped), ("tar", tarred)])


@ARCHIVES
def test_archives_are_unpacked_and_removed(server: Server, tmp_path: Path, kind: str, make: Callable[..., bytes]) -> None:
    server.files["/a.bin"] = make("folder/x.txt")
    path = fetch(data_set(server.url("a.bin"), unpack=kind), tmp_path)
    assert (path / "folder/x.txt").read_text() == "hello"
    assert [p.name for p in path.parent.iterdir()] == ["files"]
    assert fetch(data_set(server.url("a.bin"), unpack=kind), tmp_path, offline=True) == path


@ARCHIVES
@pytest.mark.parametrize(
    ("name", "link", "message"), [("../x", False, "leaves"), ("/x", False, "leaves"), ("x", True, "link or device")]
)
def test_archives_that_climb_out_or_link_are_refused(
    server: Server, tmp_path: Path, kind: str, make: Callable[..., bytes], name: str, link: bool, message: str
) -> None:
    server.files["/a.bin"] = make(name, link)
    with pytest.raises(DataError, match=message):
        fetch(data_set(server.url("a.bin"), unpack=kind), tmp_path)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["a.bin"]


@ARCHIVES
def test_corrupt_archives_are_refused(server: Server, tmp_path: Path, kind: str, make: Callable[..., bytes]) -> None:
    server.files["/a.bin"] = make("x")[:40]
    with pytest.raises(DataError, match="cannot be unpacked"):
        fetch(data_set(server.url("a.bin"), unpack=kind), tmp_path)
    assert not list(tmp_path.rglob("files*"))
