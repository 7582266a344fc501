"""Files of other people read with care, and our own written whole.

A kill at any moment of writing leaves the old file or the new one, never half of one.
"""

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

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


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Temporary file in the same folder, fsync, rename; the folder is made where it is missing.

    Args:
        path: the file to make or replace.
        write: writes the whole content to the binary file it is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
