"""Paths of files that users pass."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ntkrs._checks.advice import shown


def file_path(value: Any, name: str) -> Path:
    """Return the path of a file, which need not exist.

    Raises
    ------
    TypeError
        If it is not a path.
    ValueError
        If no file can have this name.
    IsADirectoryError
        If it is the path of a folder.
    OSError
        If it is that of a pipe, a socket or a device, which never ends or would be replaced.
    """
    if not isinstance(value, str | bytes | os.PathLike):
        raise TypeError(f"{name} is {shown(value)}, but the path of a file is needed")
    text = os.fsdecode(value)
    if not text or "\0" in text:
        raise ValueError(f"{name} is {text!r}, but the path of a file is needed: no file has this name")
    path = Path(text)
    if path.is_dir():
        raise IsADirectoryError(f"{name} is {text!r}, a folder, but the path of a file is needed: add a name to it")
    if path.exists() and not path.is_file():
        raise OSError(f"{name} is {text!r}, a pipe, a socket or a device, but the path of a file is needed")
    return path


def new_file(value: Any, name: str) -> Path:
    """Return the path of a file that is to be written.

    Raises
    ------
    TypeError, ValueError, OSError
        As :func:`file_path`.
    FileNotFoundError
        If the folder that is to hold it does not exist.
    """
    path = file_path(value, name)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{name} is {str(path)!r}, but there is no folder {str(path.parent)!r}: make it first")
    return path
