"""Calls of the C library that Python does not offer, each raising OSError with the kernel's reason."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache

PR_SET_NO_NEW_PRIVS = 38


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> int:
    """What the C function `name` returns.

    Raises:
        OSError: it failed, or this system's C library has no such function.
    """
    try:
        function = getattr(_library(), name)
    except AttributeError as error:
        raise OSError(f"this C library has no {name}") from error
    function.restype = ctypes.c_long
    return _checked(function, *arguments)


def system_call(number: int, *arguments: object) -> int:
    """What the system call `number` returns; whole numbers are passed as 64 bits.

    Raises:
        OSError: it failed.
    """
    wide = (ctypes.c_long(value) if isinstance(value, int) else value for value in arguments)
    return call("syscall", ctypes.c_long(number), *wide)


def no_new_privileges() -> None:
    """Nothing that is run from here on gains rights by being run; filters and Landlock ask for it first.

    Raises:
        OSError: this kernel does not know of it.
    """
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _checked(function: Callable[..., int], *arguments: object) -> int:
    result = function(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
