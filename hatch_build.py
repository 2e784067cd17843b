"""Puts the map page into a wheel: its own files, and the third-party assets that `static/package.json` pins.

The assets travel in the wheel (and in the source archive that it is built from) with their licences, so that a machine
that installs it needs neither Node.js nor the network to show a map. They are fetched here, by npm, with their hashes
checked; an editable install leaves that to `make assets`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OWN = ("css", "img", "js", "package.json")


class PageHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's parameter says nothing to us
    """Fetches what is missing of the assets and says where the page's files go."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it packs.

        Args:
            version: "standard", or "editable", which packs nothing.
            build_data: what to pack beside the configured files; changed here.
        """
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        from app.assets import install_all, installed_files, read_packages

        static = Path(self.root) / "static"
        for line in install_all(static, dev=False):
            self.app.display_info(line)
        vendored = [
            f"vendor/{package.name}/{file}"
            for package in read_packages(static, dev=False)
            for file in installed_files(package, static / "vendor")
        ]
        # The source archive has the page's own files already, as any other file of the repository.
        files, folder = (vendored, "static") if self.target_name == "sdist" else ((*OWN, *vendored), "app/static")
        build_data["force_include"] |= {str(static / name): f"{folder}/{name}" for name in files}
