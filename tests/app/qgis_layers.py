"""Runs in QGIS's own Python: the example of docs/clients.md, whose layers it reads, draws, and reads again."""

import json
import os
import sys
from pathlib import Path

os.environ["QT_QPA_PLATFORM"] = "offscreen"

from qgis.core import (
    Qgis,
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsFeatureRequest,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProject,
    QgsRectangle,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor


def ids(layer: object, request: object = None) -> list[str]:
    return [feature["id"] for feature in layer.getFeatures(request or QgsFeatureRequest())]


def say(**told: object) -> None:
    print(json.dumps(told), flush=True)


def colours(layer: object, box: QgsRectangle, size: int = 100) -> int:
    """How many colours a picture of a box in degrees has."""
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:4326"))
    settings.setExtent(box)
    settings.setOutputSize(QSize(size, size))
    settings.setBackgroundColor(QColor("white"))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    picture = job.renderedImage()
    return len({picture.pixel(x, y) for x in range(0, size, 4) for y in range(0, size, 4)})


def main() -> None:
    application = QgsApplication([], False)
    application.initQgis()
    exec(Path(sys.argv[1]).read_text(), {})
    layers = {layer.name(): layer for layer in QgsProject.instance().mapLayers().values()}
    tiles, hits, heat = layers["tiles"], layers["hits"], layers["heat-map"]
    best = next(layers["hits"].getFeatures()).geometry().boundingBox().buffered(1)
    say(
        version=Qgis.QGIS_VERSION,
        valid={name: layer.isValid() for name, layer in layers.items()},
        tiles=ids(tiles),
        in_a_box=ids(tiles, QgsFeatureRequest().setFilterRect(QgsRectangle(-70, -10, -50, 5))),
        across_180=ids(tiles, QgsFeatureRequest().setFilterRect(QgsRectangle(179.6, -18, 180, -17))),
        hits=ids(hits),
        columns=[field.name() for field in hits.fields()],
        system=tiles.crs().authid(),
        colours={"heat-map": colours(heat, best), "hits": colours(hits, best)},
    )
    sys.stdin.readline()
    for layer in (tiles, hits):
        layer.reload()
    say(tiles=ids(tiles), hits=ids(hits))
    QgsProject.instance().clear()
    application.exitQgis()


main()
