"""Files of other people read with care, and our own written whole.

A kill at any moment of writing leaves the old file or the new one, never half of one.
"""

import errno
import io
import json
import logging
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from hardmine.errors import InputError


def trouble(path: Path, folder: bool = False) -> str | None:
    """Why there is no file (or folder) to read; None where there is one.

    Nothing is opened: of a pipe whoever opens it waits for ever.
    """
    wanted = "folder" if folder else "file"
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "a link that leads nowhere" if path.is_symlink() else f"no such {wanted}"
    except (OSError, ValueError) as error:  # a loop of links, a name too long, no right to look, a NUL in the name
        return (getattr(error, "strerror", None) or str(error)).lower()
    found = "a folder" if stat.S_ISDIR(mode) else "a file" if stat.S_ISREG(mode) else "a pipe, a socket or a device"
    if found != f"a {wanted}":
        return f"{found} and no {wanted}"
    return None if not folder or os.access(path, os.R_OK | os.X_OK) else "no permission to look into it"


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without the byte order mark that it may begin with.

    Raises:
        InputError: no such file, or it is in another encoding.
    """
    if why := trouble(path):
        raise InputError(f"{path}: {why}: put the file there")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): mend that") from None
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(f"{path}: cannot be read, its text is in UTF-16: save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
        raise InputError(
            f"{path}: line {line} cannot be read, byte 0x{byte:02x} is not UTF-8 (Latin-1 perhaps): save it as UTF-8"
        ) from None
    if (place := text.find("\0")) >= 0:
        line = text.count("\n", 0, place) + 1
        raise InputError(f"{path}: line {line} cannot be read, it has a NUL byte (UTF-16 perhaps): save it as UTF-8")
    return text


def read_json(path: Path) -> dict[str, Any]:
    """What a JSON file of hardmine's own holds.

    Raises:
        InputError: no such file, or it is damaged.
    """
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError(f"{path}: is damaged, it holds no JSON object: delete it, or name another folder")
    return found


# what a person does about it; other errors are those of a program
_REMEDIES = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "name a folder that can be written to",
    errno.EACCES: "see to the rights there, or name another folder",
    errno.EPERM: "see to the rights there, or name another folder",
    errno.ENOTDIR: "name another folder",
    errno.EIO: "look after the disk",
}


def unwritten(error: BaseException | None, folder: object = "the disk") -> str | None:
    """One line on the disk that an error comes from: full, read-only, not ours; None where it comes from none.

    Args:
        error: or one that it came of.
        folder: what is named where the error names no file.
    """
    if (cause := _of_disk(error)) is None:
        return None
    where = cause.filename if isinstance(cause.filename, str | Path) else folder
    remedy = _REMEDIES[cause.errno or 0]
    return f"{where}: {(cause.strerror or 'cannot be written').lower()}: {remedy}"


def is_full(error: BaseException | None) -> bool:
    """Whether an error comes of a disk that nothing more can be written to, by whomever."""
    cause = _of_disk(error)
    return cause is not None and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def _of_disk(error: BaseException | None) -> OSError | None:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in _REMEDIES:
            return error
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def told_once() -> Iterator[None]:
    """A full disk shows where a run ends; threads that write logs say nothing of it before."""
    hook, raising = threading.excepthook, logging.raiseExceptions

    def quiet(args: threading.ExceptHookArgs) -> None:
        if not unwritten(args.exc_value):
            hook(args)

    threading.excepthook, logging.raiseExceptions = quiet, False
    try:
        yield
    finally:
        threading.excepthook, logging.raiseExceptions = hook, raising


_PART = ".hardmine-part"  # ends the names of files that are not whole, and of no others


def remove_parts(folder: Path) -> None:
    """Remove what processes that were killed have left half written in a folder; nobody else may write there."""
    for path in folder.glob(f".*{_PART}"):
        path.unlink(missing_ok=True)


def write_atomically(path: Path, write: Callable[[BinaryIO], object], before: Path | None = None) -> None:
    """Temporary file in the same folder, fsync, rename; the folder is made where it is missing.

    Args:
        path: the file to make or replace.
        write: writes the whole content to the binary file it is given.
        before: where the file that it takes the place of is kept; None drops it.

    Raises:
        OSError: of `path`, whatever part of writing has failed.
    """
    file: _Noting | None = None
    name: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(_PART, f".{path.name}.", path.parent)
        file = _Noting(handle, "wb")
        with io.BufferedWriter(file) as buffered:
            write(buffered)
            buffered.flush()
            os.fsync(handle)
        os.chmod(name, 0o666 & ~_umask())
        if before is not None:
            link(path, before)
        os.replace(name, path)
        _sync(path.parent)
    except BaseException as error:
        if name is not None:
            Path(name).unlink(missing_ok=True)
        cause = error if isinstance(error, OSError) else file.error if file is not None else None
        if cause is None or cause.errno is None:
            raise
        raise OSError(cause.errno, cause.strerror, str(path)) from error


class _Noting(io.FileIO):
    """A file that remembers why it could not be written; torch tells of it without a reason."""

    error: OSError | None = None

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError as error:
            self.error = error
            raise


def link(path: Path, other: Path) -> None:
    """The file under another name as well, in place of what has that name; a copy where the disk has no links."""
    part = other.with_name(f".{other.name}.link{_PART}")
    part.unlink(missing_ok=True)
    try:
        os.link(path, part)
    except OSError:
        shutil.copyfile(path, part)
    os.replace(part, other)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
