"""Arrays of numbers: read from files by any thread, and as other types."""

from __future__ import annotations

import threading
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
import numpy.typing as npt

_one_at_a_time = threading.Lock()


def load_array(source: str | Path | IO[bytes], *, mapped: bool = False) -> npt.NDArray[Any]:
    """Read an array, or map it into memory.

    numpy reads the head of the file with Python's parser, and CPython 3.11 counts the depth of the tree once for all
    threads: two that parse at the same time may end in a SystemError. So they take turns.

    Args:
        source: a path, or an open file where nothing is to be mapped.
        mapped: leave the numbers on disk until they are looked at; read-only.

    Returns:
        Of the shape and type that the file says.

    Raises:
        OSError: missing or unreadable.
        ValueError: not a `.npy` file, damaged, or of Python objects.
    """
    with _one_at_a_time:
        try:
            array: npt.NDArray[Any] = np.load(source, mmap_mode="r" if mapped else None, allow_pickle=False)
        except (SyntaxError, TokenError) as err:
            raise ValueError(f"its head is damaged: {err}") from err
    return array


def to_float32(numbers: npt.NDArray[np.floating], out: npt.NDArray[np.float32]) -> None:
    """Write numbers as numpy would cast them; float16 by the processor's own instruction, four times as quick.

    Args:
        numbers: of any shape; float16 goes through numkong where that is installed.
        out: C-contiguous, of the same shape.
    """
    if numbers.dtype == np.float16:
        try:
            import numkong
        except ImportError:  # a light install
            pass
        else:
            numkong.astype(numbers, "float32", out=out)
            return
    out[...] = numbers


def plain_numbers(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Numbers of 32 bits as people write them, 0.3 and not 0.30000001192092896; NaN for what is not finite.

    Any shape, which stays.
    """
    distinct, place = np.unique(values, return_inverse=True)
    plain = np.array([float(str(number)) if np.isfinite(number) else np.nan for number in distinct], np.float64)
    return plain[place]
