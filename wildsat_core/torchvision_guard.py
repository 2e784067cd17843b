"""Lets torchvision, and whatever imports it (timm, peft, transformers), load beside a CPU build of torch.

The package index has a CPU build of torch but of torchvision only a CUDA build. Beside a CPU torch that build fails at
import, because its compiled operators can't load and it then registers a shape rule for an operator that nobody
declared: "operator torchvision::nms does not exist". Declaring the two operators by their signatures is enough for the
import; models and transforms, which are plain Python, then work. What needs compiled code does not: `torchvision.io`
and `torchvision.ops.nms`. Nothing is touched when the two builds belong together.
"""

from __future__ import annotations

from functools import cache
from importlib import metadata
from typing import Any

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


@cache  # the library object must stay alive, or torch forgets the declarations
def guard_torchvision() -> Any:  # noqa: ANN401 - torch.library.Library, or None where no guard is needed
    """Declare torchvision's operators if its build does not belong to this torch.

    Call it before the first import of torchvision, timm, peft or a transformers model, in every process.

    Returns:
        The library that holds the declarations, None when none were needed.
    """
    import torch

    if torch.version.cuda is not None or not _built_for_cuda():
        return None
    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)
    return library


def _built_for_cuda() -> bool:
    """Whether the installed torchvision is a CUDA build, by its own version file (importing it is what fails)."""
    try:
        distribution = metadata.distribution("torchvision")
    except metadata.PackageNotFoundError:
        return False
    version_file = next((f for f in distribution.files or () if f.as_posix() == "torchvision/version.py"), None)
    text = "" if version_file is None else version_file.read_text()
    return "+cu" in text or "+cu" in distribution.version
