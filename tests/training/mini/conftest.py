"""The six land cells of the tests of training/earth."""

from tests.training.earth.conftest import six_cells

__all__ = ["six_cells"]
