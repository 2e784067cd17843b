"""Opens files of sightings as rows: tables of text, Parquet, and archives with such in them.

A Darwin Core archive (https://dwc.tdwg.org/text/) says in its meta.xml which file holds its records and which column is
which term; GBIF's and iNaturalist's are such. A zip without one holds one table: GBIF's simple download, eBird's, and
iNaturalist's export.
"""

from __future__ import annotations

import csv
import errno
import io
import itertools
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any
from xml.etree import ElementTree as ET

from training.data.credit import Credit
from wildsat_core.errors import InvalidInputError

META, EML = "meta.xml", "metadata.xml"  # the latter where the former names no other
TABLES = (".csv", ".tsv", ".txt")
SIGHTINGS = ("ebd_", "observations", "occurrence")  # names of tables of sightings among others
OCCURRENCE = "http://rs.tdwg.org/dwc/terms/Occurrence"
BATCH_ROWS = 65_536
_DOI = re.compile(r"10\.\d{4,9}/[^\s\"<>]+")
_EBIRD = re.compile(r"ebd_.*rel([A-Z][a-z]{2}-\d{4})", re.IGNORECASE)

Row = Sequence[str | None]

csv.field_size_limit(1 << 20)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of sightings.

    Attributes:
        names: of the columns, as the file has them.
        rows: number of the line or record, counted from 1 with a header's, and its values.
        credit: what the file says of its origin.
    """

    names: Sequence[str]
    rows: Iterator[tuple[int, Row]]
    credit: Credit


@contextmanager
def open_table(file: Path, wanted: Collection[str]) -> Iterator[Table]:
    """The records of a file, or of a folder of Parquet files, while the block lasts.

    Args:
        file: of any of these kinds.
        wanted: columns, in small letters, that are read where a format can leave others out; those are then None.

    Raises:
        InvalidInputError: it is damaged, or no such table; what is wrong is said.
    """
    from pyarrow import ArrowInvalid

    try:
        with ExitStack() as opened:
            yield _opened(file, wanted, opened)
    except UnicodeDecodeError as err:
        raise InvalidInputError(f"{file} is not in UTF-8 ({err}); save it as UTF-8", "observations") from err
    except csv.Error as err:
        raise InvalidInputError(
            f"{file} can't be read as a table: {err}; look for a quote that is not closed, or a file that is no text",
            "observations",
        ) from err
    except OSError as err:  # of pyarrow, unless it has a number; of an archive that points before its own beginning
        if err.errno not in (None, errno.EINVAL):
            raise
        raise InvalidInputError(f"{file} is damaged: {str(err).strip()}; fetch it again", "observations") from err
    except RuntimeError as err:  # of zipfile: a compression that it does not know, or a password
        raise InvalidInputError(
            f"{file} can't be unpacked here: {err}; unpack it, and give the table or the Parquet files in it",
            "observations",
        ) from err
    except (zipfile.BadZipFile, zlib.error, EOFError, ArrowInvalid, ET.ParseError) as err:
        raise InvalidInputError(f"{file} is damaged: {err}; fetch it again", "observations") from err


def _opened(file: Path, wanted: Collection[str], opened: ExitStack) -> Table:
    if file.is_dir():
        parts = sorted(part for part in file.iterdir() if part.is_file() and not part.name.startswith(("_", ".")))
        return _parquet(file, [str(part) for part in parts], wanted)
    with file.open("rb") as start:
        kind = start.read(4)
    if kind == b"PAR1":
        return _parquet(file, [str(file)], wanted)
    if kind[:2] == b"PK":
        return _archive(file, opened.enter_context(zipfile.ZipFile(file)), wanted, opened)
    return _text(opened.enter_context(file.open(encoding="utf-8-sig", newline="")), _of_ebird(file.name))


def _text(lines: IO[str], credit: Credit) -> Table:
    """A table with a header. Tab-separated ones, as GBIF's, quote nothing: a quote in them is a letter.

    In others a quote that is never closed is an error: it would swallow all the rows after it.
    """
    header = lines.readline()
    rows = itertools.chain([header], lines)
    tabs = "\t" in header
    reader = csv.reader(rows, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader(rows, strict=True)
    names = next(reader, [])
    return Table(names, ((reader.line_num, row) for row in reader), credit)


def _parquet(file: Path, parts: Sequence[Any], wanted: Collection[str]) -> Table:
    """Parquet, one file or several of the same columns. Numbers and dates are given as text, as tables give them."""
    import pyarrow.parquet as pq

    if not parts:
        raise InvalidInputError(f"{file} holds no Parquet files", "observations")
    opened = [pq.ParquetFile(part) for part in parts]
    names = opened[0].schema_arrow.names
    read = [name for name in names if name.lower() in wanted]

    def rows() -> Iterator[tuple[int, Row]]:
        number = itertools.count(1)
        for part in opened:
            for batch in part.iter_batches(BATCH_ROWS, columns=read):
                values = {name: map(_as_text, batch.column(name).to_pylist()) for name in read}
                for row in zip(*(values.get(name, itertools.repeat(None)) for name in names), strict=False):
                    yield next(number), row

    return Table(names, rows(), Credit())


def _as_text(value: object) -> str | None:
    return None if value is None else str(value)


def _archive(file: Path, archive: zipfile.ZipFile, wanted: Collection[str], opened: ExitStack) -> Table:
    files = {PurePosixPath(name).name: name for name in archive.namelist() if not name.endswith("/")}
    if META in files:
        try:
            return _darwin_core(file, archive, files, opened)
        except InvalidInputError:
            raise
        except (LookupError, TypeError, ValueError) as err:  # an encoding, a column's number, a separator
            raise InvalidInputError(
                f"{file}: {META} can't be understood: {err}; mend it, or unpack the archive and give its table",
                "observations",
            ) from err
    parquet = sorted(name for name in archive.namelist() if ".parquet" in name and not name.endswith("/"))
    if parquet:
        return _parquet(file, [opened.enter_context(archive.open(name)) for name in parquet], wanted)
    tables = [name for name in archive.namelist() if name.lower().endswith(TABLES) and not name.startswith("__MACOSX")]
    if len(tables) > 1:  # eBird's explain its codes and terms in further ones
        tables = [name for name in tables if PurePosixPath(name).name.lower().startswith(SIGHTINGS)]
    if len(tables) != 1:
        raise InvalidInputError(
            f"{file} must hold a Darwin Core archive ({META}), Parquet or one table ({', '.join(TABLES)}); it holds "
            f"{', '.join(sorted(files)[:8]) or 'nothing'}",
            "observations",
        )
    return _text(_lines(archive, tables[0], "utf-8-sig", opened), _of_ebird(tables[0]))


def _lines(archive: zipfile.ZipFile, name: str, encoding: str, opened: ExitStack) -> IO[str]:
    return opened.enter_context(io.TextIOWrapper(archive.open(name), encoding, newline=""))


def _darwin_core(file: Path, archive: zipfile.ZipFile, files: dict[str, str], opened: ExitStack) -> Table:
    """The core's rows under their terms' short names."""
    meta = _xml(file, archive.read(files[META]))
    core = _core(file, meta)
    location = (core.findtext(".//{*}location") or "").strip()
    if PurePosixPath(location).name not in files:
        raise InvalidInputError(f"{file}: {META} names the table {location!r}, which is not there", "observations")
    columns: dict[int, str] = {}
    constant: dict[str, str] = {}
    for field in core.iterfind("{*}field"):
        term = field.get("term", "").rstrip("/").rpartition("/")[2]
        if (index := field.get("index")) is not None:
            columns[int(index)] = term
        elif field.get("default"):
            constant[term] = field.get("default", "")
    lines = _lines(archive, files[PurePosixPath(location).name], core.get("encoding") or "utf-8", opened)
    quote = _unescaped(core.get("fieldsEnclosedBy", ""))
    reader = csv.reader(
        lines,
        delimiter=_unescaped(core.get("fieldsTerminatedBy", "\\t")),
        quotechar=quote or None,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        strict=bool(quote),
    )
    width = max(columns, default=-1) + 1
    names = [*(columns.get(i, "") for i in range(width)), *constant]
    skipped = int(core.get("ignoreHeaderLines", "0") or 0)

    def rows() -> Iterator[tuple[int, Row]]:
        for row in itertools.islice(reader, skipped, None):
            # What is too short stays so: a constant must not stand in another's column.
            yield reader.line_num, [*row[:width], *constant.values()] if len(row) >= width else row

    about = PurePosixPath(meta.get("metadata") or EML).name
    credit = _credit(archive.read(files[about]), file) if about in files else Credit()
    return Table(names, rows(), credit)


def _core(file: Path, meta: ET.Element) -> ET.Element:
    core = meta.find("{*}core")
    kind = "" if core is None else core.get("rowType", OCCURRENCE)
    if core is None or kind != OCCURRENCE:
        raise InvalidInputError(
            f"{file} is a Darwin Core archive of {kind.rpartition('/')[2] or 'nothing'}, not of occurrences; ask GBIF "
            "for a download of occurrences",
            "observations",
        )
    return core


def _credit(eml: bytes, file: Path) -> Credit:
    """Citation, DOI and terms of an EML document (https://eml.ecoinformatics.org)."""
    root = _xml(file, eml)
    text, title = (" ".join((root.findtext(f".//{{*}}{tag}") or "").split()) for tag in ("citation", "title"))
    named = [element.text or "" for element in root.iterfind(".//{*}alternateIdentifier")]
    dois = [found[0].rstrip(".,;)") for each in (*named, text) if (found := _DOI.search(each))]
    rights = root.find(".//{*}intellectualRights")
    said = "" if rights is None else " ".join(" ".join(rights.itertext()).split())
    return Credit(citation=text or title, doi=dois[0] if dois else "", rights=said)


def _xml(file: Path, content: bytes) -> ET.Element:
    """An XML document without entities of its own, which could swell without end."""
    if b"<!ENTITY" in content:
        raise InvalidInputError(f"{file} has entities in its description, which no archive needs", "observations")
    return ET.fromstring(content)  # noqa: S314 - without entities there is nothing to expand or fetch


def _unescaped(text: str) -> str:
    return text.replace("\\t", "\t").replace("\\n", "\n").replace('\\"', '"').replace("&quot;", '"')


def _of_ebird(name: str) -> Credit:
    """What eBird asks for, by the name of its file: the release stands in no column."""
    release = _EBIRD.search(PurePosixPath(name).name)
    if release is None:
        return Credit()
    return Credit(
        citation=f"eBird Basic Dataset. Version: EBD_rel{release[1]}. Cornell Lab of Ornithology, Ithaca, New York.",
        rights="eBird data access terms of use: no redistribution, no commercial use",
    )
