"""The six land cells of the tests of training/mini."""

from tests.training.mini.conftest import six_cells

__all__ = ["six_cells"]
