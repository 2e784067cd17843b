"""Sightings as GBIF, iNaturalist and eBird give them, and whom they are owed to, down to the card of a model."""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import io
import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from training.card import credits_of
from training.commands import dataset
from training.data.credit import licence_name
from training.data.observations import read_observations
from training.loop import train
from wildsat_core.errors import InvalidInputError, MissingDataError
from wildsat_core.models.commands import export_model

from .conftest import make_dataset, tiny_config

DWC, GBIF = "http://rs.tdwg.org/dwc/terms/", "http://rs.gbif.org/terms/1.0/"
CITATION = "GBIF.org (1 November 2026) GBIF Occurrence Download https://doi.org/10.15468/dl.a1b2c3"
META = f"""<?xml version="1.0"?>
<archive xmlns="http://rs.tdwg.org/dwc/text/" metadata="metadata.xml">
  <core encoding="utf-8" fieldsTerminatedBy="\\t" linesTerminatedBy="\\n" fieldsEnclosedBy="" ignoreHeaderLines="1"
      rowType="{DWC}Occurrence">
    <files><location>occurrence.txt</location></files>
    <id index="0"/>
    <field index="0" term="{GBIF}gbifID"/>
    <field index="3" term="{DWC}decimalLatitude"/>
    <field index="2" term="{DWC}decimalLongitude"/>
    <field index="1" term="{GBIF}species"/>
    <field index="4" term="{DWC}eventDate"/>
    <field index="5" term="http://purl.org/dc/terms/license"/>
    <field index="6" term="{DWC}occurrenceStatus"/>
    <field index="7" term="{GBIF}datasetKey"/>
    <field term="{DWC}country" default="Brazil"/>
  </core>
</archive>"""
EML = f"""<eml:eml xmlns:eml="eml://ecoinformatics.org/eml-2.1.1"><dataset>
  <alternateIdentifier>doi:10.15468/dl.a1b2c3</alternateIdentifier><title>GBIF Occurrence Download</title>
  <intellectualRights><para>CC BY-NC 4.0 for all of it</para></intellectualRights></dataset>
  <additionalMetadata><metadata><gbif><citation>{CITATION}</citation></gbif></metadata></additionalMetadata></eml:eml>"""
RECORDS = (
    "gbifID\tspecies\tdecimalLongitude\tdecimalLatitude\teventDate\tlicense\toccurrenceStatus\tdatasetKey\n"
    "1\tPanthera onca\t-60.25\t-3.5\t2019-07-04T10:00:00\tCC_BY_NC_4_0\tPRESENT\ta\n"
    '2\tInia "boto" x\t-60\t-3\t\tCC0_1_0\tPRESENT\tb\n'
    "3\tPanthera onca\t-60\t-3\t\tCC_BY_4_0\tABSENT\tb\n"
    "4\tPanthera\n"
    "5\tPanthera onca\twest\t-3\t\tCC_BY_4_0\tPRESENT\tb\n"
    "6\tPanthera onca\t-61\t-4\t\thttp://creativecommons.org/licenses/by-nc/4.0/legalcode\tPRESENT\ta\n"
)


def zipped(path: Path, **files: str | bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "."), content)
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return zipped(
        tmp_path / "gbif.zip", meta__xml=META, metadata__xml=EML, occurrence__txt=RECORDS, verbatim__txt="x\n"
    )


def test_a_darwin_core_archive_gives_its_terms_its_licences_and_its_doi(archive: Path) -> None:
    seen = read_observations(archive)
    assert [(o.species, o.lon, o.lat, o.date) for o in seen.rows] == [
        ("Panthera onca", -60.25, -3.5, dt.date(2019, 7, 4)),
        ('Inia "boto" x', -60.0, -3.0, None),
        ("Panthera onca", -61.0, -4.0, None),
    ]
    assert seen.skipped == {
        "of a species that was not there": 1,
        "too short": 1,
        "with a position that is not a number": 1,
    }
    assert seen.lines["too short"] == [5]  # the header is line 1
    assert "1 too short (row 5)" in seen.report()
    assert seen.credit.licences == {"CC-BY-NC-4.0": 2, "CC0-1.0": 1}
    assert (seen.credit.doi, seen.credit.citation) == ("10.15468/dl.a1b2c3", CITATION)
    assert seen.credit.rights == "CC BY-NC 4.0 for all of it"
    assert seen.credit.datasets == 2


def test_a_simple_download_is_read_from_its_zip_and_out_of_it(tmp_path: Path) -> None:
    packed = read_observations(zipped(tmp_path / "0001-26.zip", **{"0001-26.csv": RECORDS}))
    (tmp_path / "0001-26.csv").write_text(RECORDS)
    plain = read_observations(tmp_path / "0001-26.csv")
    assert packed.rows == plain.rows
    assert len(plain.rows) == 3
    assert packed.credit == plain.credit
    assert plain.credit.doi == ""


def parquet(rows: list[list[str]]) -> bytes:
    columns = dict(zip(rows[0], zip(*(row + [""] * 8 for row in rows[1:]), strict=False), strict=False))
    lon = [float(v) if v.startswith("-") else None for v in columns["decimalLongitude"]]
    days = [dt.datetime.fromisoformat(v) if v else None for v in columns["eventDate"]]
    table = {"species": columns["species"], "decimallongitude": lon, "decimallatitude": columns["decimalLatitude"]}
    table |= {"eventdate": pa.array(days, pa.timestamp("ms")), "license": columns["license"]}
    table |= {"occurrencestatus": columns["occurrenceStatus"], "mediatype": [["a"]] * len(lon)}
    buffer = io.BytesIO()
    pq.write_table(pa.table(table), buffer)
    return buffer.getvalue()


def test_parquet_is_read_as_a_file_a_folder_and_a_download(tmp_path: Path) -> None:
    content = parquet(list(csv.reader(io.StringIO(RECORDS), delimiter="\t", quoting=csv.QUOTE_NONE)))
    (tmp_path / "all.parquet").write_bytes(content)
    (tmp_path / "occurrence.parquet").mkdir()
    for part in ("000000", "000001"):
        (tmp_path / "occurrence.parquet" / part).write_bytes(content)
    packed = zipped(tmp_path / "download.zip", **{"occurrence.parquet/000000": content})
    one, two, zip_ = (read_observations(p) for p in (tmp_path / "all.parquet", tmp_path / "occurrence.parquet", packed))
    assert [(o.species, o.lon, o.date) for o in one.rows][:1] == [("Panthera onca", -60.25, dt.date(2019, 7, 4))]
    assert one.rows == zip_.rows
    assert two.rows == one.rows * 2
    assert two.lines["of a species that was not there"] == [3, 9]
    assert len(one.rows) == 3
    assert one.credit.licences == {"CC-BY-NC-4.0": 2, "CC0-1.0": 1}
    assert one.lines["of a species that was not there"] == [3]  # records of Parquet, which has no header, from 1


def test_exports_of_inaturalist_and_ebird_are_read_with_their_terms(tmp_path: Path) -> None:
    told = (
        "id,observed_on,license,latitude,longitude,coordinates_obscured,scientific_name\n"
        '1,2024-05-01,CC-BY-NC,48.1,11.5,false,"Falco, peregrinus"\n2,2024-05-01,,48.2,11.6,true,Felis silvestris\n'
    )
    inaturalist = read_observations(zipped(tmp_path / "observations-1.zip", **{"observations-1.csv": told}))
    assert [o.species for o in inaturalist.rows] == ["Falco, peregrinus"]
    assert inaturalist.skipped == {"with a position that was moved to protect the species": 1}
    assert inaturalist.credit.licences == {"CC-BY-NC": 1}
    rows = "SCIENTIFIC NAME\tLATITUDE\tLONGITUDE\tOBSERVATION DATE\nParus major\t48.1\t11.5\t2024-05-01\n"
    name = "ebd_DE_relSep-2026"
    ebird = read_observations(
        zipped(tmp_path / f"{name}.zip", **{f"{name}.txt": rows, "BCRCodes.txt": "1\n", "terms_of_use.txt": "x\n"})
    )
    assert [(o.species, o.lon, o.date) for o in ebird.rows] == [("Parus major", 11.5, dt.date(2024, 5, 1))]
    assert "EBD_relSep-2026. Cornell Lab of Ornithology" in ebird.credit.citation
    assert "no redistribution" in ebird.credit.rights


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("CC_BY_NC_4_0", "CC-BY-NC-4.0"), ("CC-BY-NC", "CC-BY-NC"), ("cc by-sa 3.0", "CC-BY-SA-3.0"),
        ("https://creativecommons.org/licenses/by/4.0/", "CC-BY-4.0"), ("CC BY 4.0", "CC-BY-4.0"),
        ("http://creativecommons.org/publicdomain/zero/1.0/legalcode", "CC0-1.0"), ("CC0", "CC0-1.0"),
        ("All rights  reserved", "All rights reserved"), ("", "not said"), (None, "not said"),
    ],
)  # fmt: skip
def test_a_licence_has_one_name(said: str | None, name: str) -> None:
    assert licence_name(said) == name


def test_what_is_damaged_or_something_else_is_told(tmp_path: Path, archive: Path) -> None:
    whole = archive.read_bytes()
    events = META.replace("Occurrence", "Event")
    swelling = '<!DOCTYPE a [<!ENTITY b "c">]>' + META.partition("?>")[2]
    cases = {
        "is damaged: ": whole[: len(whole) // 2],
        "archive of Event, not of occurrences": zipped(tmp_path / "a.zip", meta__xml=events).read_bytes(),
        "names the table 'occurrence.txt', which is not there": zipped(tmp_path / "b.zip", meta__xml=META).read_bytes(),
        "has entities in its description": zipped(tmp_path / "c.zip", meta__xml=swelling).read_bytes(),
        "is damaged: no element found": zipped(tmp_path / "d.zip", meta__xml="").read_bytes(),
        "can't be understood: unknown encoding": zipped(
            tmp_path / "g.zip", meta__xml=META.replace("utf-8", "utf-99"), occurrence__txt="a"
        ).read_bytes(),
        "can't be understood: invalid literal": zipped(
            tmp_path / "h.zip", meta__xml=META.replace('index="1"', 'index="one"'), occurrence__txt="a"
        ).read_bytes(),
        "it holds nothing": zipped(tmp_path / "e.zip").read_bytes(),
        "it holds a.txt, b.txt": zipped(tmp_path / "f.zip", a__txt="x", b__txt="y").read_bytes(),
        "is damaged: Couldn't deserialize": b"PAR1" + b"\0" * 40 + b"PAR1",
        "needs columns for species": b"animal,where\n",
    }
    for message, content in cases.items():
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(InvalidInputError, match=message):
            read_observations(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match="holds no Parquet files"):
        read_observations(tmp_path / "empty")


@pytest.mark.parametrize(("field", "value"), [(b"\x01\x00", "encrypted"), (None, "compression")])
def test_an_archive_that_is_whole_but_locked_is_not_called_damaged(
    tmp_path: Path, archive: Path, field: bytes | None, value: str
) -> None:
    content = bytearray(archive.read_bytes())
    for mark, flags, method in ((b"PK\x03\x04", 6, 8), (b"PK\x01\x02", 8, 10)):  # local heads, and the directory
        at = content.find(mark)
        while at >= 0:
            where, what = (flags, field) if field else (method, b"\x62\x00")  # PPMd
            content[at + where : at + where + 2] = what
            at = content.find(mark, at + 4)
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InvalidInputError, match=f"can't be unpacked here: .*{value}.*; unpack it, and give the table"):
        read_observations(tmp_path / "file")


def test_a_byte_flipped_anywhere_ends_in_words_or_in_sightings(tmp_path: Path, archive: Path) -> None:
    whole = archive.read_bytes()
    for at in range(len(whole)):
        content = bytearray(whole)
        content[at] ^= 0xFF
        (tmp_path / "file").write_bytes(content)
        with contextlib.suppress(InvalidInputError):
            read_observations(tmp_path / "file")


def test_licence_and_citation_reach_the_data_set_the_card_and_the_exported_model(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "chips").mkdir()
    Image.effect_noise((32, 32), 60).convert("RGB").save(tmp_path / "chips" / "a.png")
    (tmp_path / "chips" / "index.csv").write_text("file,lon,lat\na.png,-60.25,-3.5\n")
    (tmp_path / "texts.csv").write_text(
        "species,text,source,licence\nPanthera onca,wet forest,Wikipedia,CC BY-SA 4.0\n"
    )
    words = ["build", tmp_path / "set", "--observations", archive, "--texts", tmp_path / "texts.csv"]
    words += ["--imagery", f"folder:{tmp_path / 'chips'}", "--shares", "1,0,0", "--doi", "10.15468/dl.mine"]
    answer = CliRunner().invoke(dataset, list(map(str, words)))
    assert answer.exit_code == 0, answer.output
    assert f"cite: {CITATION}" in answer.output
    provenance = json.loads((tmp_path / "set" / "dataset.json").read_text())["provenance"]
    assert provenance["observations"]["doi"] == "10.15468/dl.mine"
    assert provenance["texts"] == {"Wikipedia, CC-BY-SA-4.0": 1}

    painted = make_dataset(tmp_path / "painted", places=8, species=4, dates=1)
    about = json.loads((painted / "dataset.json").read_text()) | {"provenance": provenance}
    (painted / "dataset.json").write_text(json.dumps(about))
    train(tiny_config(painted, tmp_path / "run", losses={"image": 0}, run={"steps": 1}))
    monkeypatch.setenv("WILDSAT_MODEL_DIR", str(tmp_path / "models"))
    card = (export_model(tmp_path / "run", "mine") / "README.md").read_text("utf-8")
    for said in (CITATION, "https://doi.org/10.15468/dl.mine", "CC-BY-NC-4.0 (2)", "Wikipedia, CC-BY-SA-4.0 (1)"):
        assert said in card
    assert "| score |" in card
    assert credits_of({}) == ["sightings: nobody said whom to cite"]


def test_observations_of_gbif_and_inaturalist_are_read_and_bad_rows_counted(tmp_path: Path) -> None:
    gbif = tmp_path / "gbif.csv"
    gbif.write_text(
        "gbifID\tspecies\tdecimalLatitude\tdecimalLongitude\teventDate\n"
        "1\tPanthera  onca\t-3.5\t-60.25\t2019-07-04T10:00:00Z\n"
        "2\t\t1\t2\t2019-01-01\n"
        "3\tPanthera onca\tnorth\t-60\t\n"
        "4\tPanthera onca\t91\t-60\t\n"
        "5\tPanthera onca\t0\t0\t\n"
        "6\tPanthera onca\tnan\t3\t\n"
        "7\tPanthera onca\t10\t180\tJuly 1999\n"
        "8\tPanthera\n"
    )
    seen = read_observations(gbif)
    assert [(o.species, o.lon, o.lat, o.date) for o in seen.rows] == [
        ("Panthera onca", -60.25, -3.5, dt.date(2019, 7, 4)),
        ("Panthera onca", 180.0, 10.0, None),
    ]
    assert dict(seen.skipped) == {
        "without a species": 1,
        "with a position that is not a number": 1,
        "with a position off the globe": 2,
        "at 0, 0": 1,
        "dates not understood (rows kept)": 1,
        "too short": 1,
    }
    inaturalist = tmp_path / "inat.csv"
    inaturalist.write_text('taxon_name,latitude,longitude,observed_on\n"Ursus, arctos",61.5,-150,2020-02-30\n')
    assert read_observations(inaturalist).rows[0].species == "Ursus, arctos"


def test_a_quote_in_a_tab_separated_table_is_a_letter(tmp_path: Path) -> None:
    gbif = tmp_path / "gbif.csv"
    places = ('"Rio Negro', "Manaus", '12" trap, "north" side')
    rows = [f"{place}\tPanthera onca\t-60\t-3.{i}\n" for i, place in enumerate(places)]
    gbif.write_text("locality\tspecies\tlon\tlat\n" + "".join(rows))
    seen = read_observations(gbif)
    assert [o.lat for o in seen.rows] == [-3.0, -3.1, -3.2]
    assert not seen.skipped


def test_a_quote_that_is_not_closed_swallows_no_rows(tmp_path: Path) -> None:
    rows = "".join(f"Lynx lynx,{lon},47\n" for lon in range(50))
    for head in ('"Lynx lynx,9,47\n', '"Lynx" lynx,9,47\n'):
        (tmp_path / "quote.csv").write_text("species,lon,lat\n" + head + rows)
        with pytest.raises(InvalidInputError, match="a quote that is not closed"):
            read_observations(tmp_path / "quote.csv")
    (tmp_path / "quote.csv").write_text('species,lon,lat\n"Lynx, ""lynx""",9,47\n' + rows)
    assert len(read_observations(tmp_path / "quote.csv").rows) == 51


def test_observations_without_a_column_or_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError):
        read_observations(tmp_path / "none.csv")
    (tmp_path / "x.csv").write_text("animal,where\n")
    with pytest.raises(InvalidInputError, match="needs columns"):
        read_observations(tmp_path / "x.csv")
    (tmp_path / "y.csv").write_bytes(b"species,lon,lat\n\xff\xfe\x00,1,2\n")
    with pytest.raises(InvalidInputError, match="save it as UTF-8"):
        read_observations(tmp_path / "y.csv")
