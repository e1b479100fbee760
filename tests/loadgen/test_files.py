"""Files are written whole or not at all, and read as what anybody may have put there."""

import errno
import io
import os
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.files import (
    DOCUMENT,
    LONGEST_LINE,
    MissingError,
    ReadError,
    WriteError,
    check_results,
    inside,
    last_byte,
    read_lines,
    read_record,
    read_whole,
    split_lines,
    write_all,
    write_result,
    write_whole,
)


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    for data in (b"first", b"second"):
        write_whole(path, data)
        assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


def test_whether_a_result_can_be_written_is_known_before_and_changes_nothing(
    tmp_path: Path,
) -> None:
    old = tmp_path / "old"
    old.write_text("mine")
    check_results(None, "-", old, tmp_path / "new", str(tmp_path / "link"), "/dev/null")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
    for path in ("/proc/x", tmp_path, tmp_path / "no" / "x", tmp_path / ("x" * 300), old / "x"):
        with pytest.raises(WriteError, match=r"cannot write .*x|Is a directory"):
            check_results("-", path)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_its_mode_is_what_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "record.json", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "record.json").stat().st_mode & 0o777 == 0o640


def test_a_failure_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    (taken / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="taken"):
        write_whole(taken, b"data")  # a directory that is not empty cannot be replaced
    assert list(tmp_path.iterdir()) == [taken]


def test_a_reader_that_has_it_open_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_whole(path, b"old")
    with path.open("rb") as reader:
        write_whole(path, b"newer")
        assert reader.read() == b"old"


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / "page").symlink_to(victim)
    write_whole(tmp_path / "page", b"new")
    assert victim.read_bytes() == b"mine"
    assert (tmp_path / "page").read_bytes() == b"new"


def test_a_link_that_the_user_names_is_the_user_s_own(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    (tmp_path / "link").symlink_to(target)
    write_result(tmp_path / "link", b"new")
    assert target.read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()


def test_a_pipe_that_the_user_names_is_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_result(tmp_path / "pipe", b"data")
        assert os.read(reader, 10) == b"data"
    finally:
        os.close(reader)


class Narrow(io.BytesIO):
    """Takes three bytes at a time, and no more than `room` in all."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, data: Any) -> int:
        if len(self.getvalue()) >= self.room:
            raise OSError(errno.ENOSPC, "full")
        return super().write(bytes(data[:3]))


def test_a_short_write_is_gone_on_with_until_it_fails() -> None:
    wide, narrow = Narrow(100), Narrow(6)
    write_all(wide, b"0123456789")
    assert wide.getvalue() == b"0123456789"
    with pytest.raises(OSError, match="full"):
        write_all(narrow, b"0123456789")


class Point(msgspec.Struct):
    x: Annotated[int, msgspec.Meta(ge=0)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"x":-1}', "is cut off or damaged (Expected `int` >= 0 - at `$.x`)"),
        (b'{"x":"1"}', "is cut off or damaged (Expected `int`, got `str` - at `$.x`)"),
        (b"{}", "is cut off or damaged (Object missing required field `x`)"),
        (b'{"x":1', "is cut off or damaged (Input data was truncated)"),
        (b'{"x":NaN}', "is cut off or damaged (JSON is malformed: invalid character (byte 5))"),
        (b'{"\xff":1}', "is cut off or damaged"),
        (b'{"y":' + b"[" * 100_000, "is cut off or damaged (nested too deeply)"),
        (b" " * (DOCUMENT + 1), "is larger than 8 MiB"),
    ],
)
def test_a_document_that_cannot_be_is_refused_with_its_field(
    data: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "point.json"
    path.write_bytes(data)
    with pytest.raises(ReadError) as caught:
        read_record(path, Point)
    assert caught.value.reason.startswith(reason)
    assert str(caught.value).startswith(f"{path} {reason}")


def no_file(folder: Path, kind: str) -> Path:
    path = folder / kind
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "sparse":
        path.touch()
        os.truncate(path, 1 << 40)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "name":
        path = folder / ("a" * 300)
    elif kind == "NUL":
        path = folder / "a\0b"
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("pipe", "is not a regular file"),
        ("directory", "is not a regular file"),
        ("device", "is not a regular file"),
        ("sparse", "is larger than"),
        ("loop", "cannot be read: Too many levels of symbolic links"),
        ("name", "cannot be read: File name too long"),
        ("NUL", "cannot be: a NUL in the name"),
        ("nothing", "is missing"),
    ],
)
def test_what_is_no_file_is_not_read(kind: str, reason: str, tmp_path: Path) -> None:
    path = no_file(tmp_path, kind)
    for read in (read_whole, last_byte, lambda path: list(read_lines(path))):
        with pytest.raises(ReadError) as caught:
            read(path)
        assert caught.value.reason.startswith(reason)
        assert isinstance(caught.value, MissingError) == (kind == "nothing")


@given(st.lists(st.binary(max_size=8)), st.integers(1, 5))
def test_lines_are_the_same_however_they_come(lines: list[bytes], size: int) -> None:
    whole = b"\n".join(line.replace(b"\n", b"") for line in lines)
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    found = list(split_lines(pieces))
    assert found == (whole.removesuffix(b"\n").split(b"\n") if whole else [])


def test_an_overlong_line_is_left_out_and_takes_no_memory() -> None:
    long = b"x" * LONGEST_LINE
    pieces = [b"a\n", long, long, b"y\nb\n", long, b"\nc"]
    assert list(split_lines(pieces)) == [b"a", b"b", long, b"c"]


def test_inside_follows_links(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "in").mkdir(parents=True)
    (folder / "out").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    assert inside(folder, folder / "in" / "x")
    assert not inside(folder, folder / "out" / "x")
    assert not inside(folder, folder / ".." / "x")
    assert not inside(folder, folder / "a\0b")
