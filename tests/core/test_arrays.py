"""Arrays from files: damaged ones, and many threads at once; halves as numbers of 32 bits."""

import io
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from wildsat_core.arrays import load_array, to_float32


def packed(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def test_an_array_comes_back_whole_or_mapped(tmp_path):
    numbers = np.arange(12, dtype=np.float16).reshape(3, 4)
    path = tmp_path / "numbers.npy"
    path.write_bytes(packed(numbers))
    np.testing.assert_array_equal(load_array(path), numbers)
    mapped = load_array(path, mapped=True)
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable
    np.testing.assert_array_equal(mapped, numbers)


@pytest.mark.parametrize(("old", "new"), [(b"NUMPY", b"NAMPY"), (b"{", b"("), (b"False", b"Fals("), (b"<i8", b"<i\0")])
def test_a_damaged_head_is_a_value_error(old, new):
    content = packed(np.arange(6)).replace(old, new)
    with pytest.raises(ValueError, match=r"head|magic|header|pickle"):
        load_array(io.BytesIO(content))


def test_python_objects_are_refused():
    with pytest.raises(ValueError, match="allow_pickle"):
        load_array(io.BytesIO(packed(np.array([{}], dtype=object))))


@pytest.mark.parametrize("installed", [True, False])
def test_every_half_is_widened_as_numpy_does(monkeypatch, installed):
    if not installed:
        monkeypatch.setitem(sys.modules, "numkong", None)
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(256, 256)  # subnormal, infinite, NaN ones, too
    out = np.zeros((256, 256), np.float32)
    to_float32(halves, out)
    np.testing.assert_array_equal(out, halves.astype(np.float32))
    to_float32(halves[::3][::-1], out[: len(halves[::3])])  # rows apart, in another order
    np.testing.assert_array_equal(out[:86], halves[::3][::-1].astype(np.float32))
    to_float32(halves[:0], out[:0])


def test_other_numbers_are_widened_too():
    out = np.zeros(4, np.float32)
    to_float32(np.array([0.1, 1e-40, 3e38, np.inf]), out)
    np.testing.assert_array_equal(out, np.array([0.1, 1e-40, 3e38, np.inf], np.float32))


def test_threads_take_turns_at_the_parser(monkeypatch):
    """CPython 3.11's parser raises SystemError when another thread enters it halfway."""
    real, inside, most = np.load, 0, []
    counting = threading.Lock()

    def slow(*args, **options):
        nonlocal inside
        with counting:
            inside += 1
            most.append(inside)
        time.sleep(0.01)  # lets the other threads run, as a finaliser within the parser does
        with counting:
            inside -= 1
        return real(*args, **options)

    monkeypatch.setattr(np, "load", slow)
    content = packed(np.arange(6))
    with ThreadPoolExecutor(8) as threads:
        arrays = list(threads.map(lambda _: load_array(io.BytesIO(content)), range(16)))
    assert max(most) == 1
    assert all(array.tolist() == list(range(6)) for array in arrays)
