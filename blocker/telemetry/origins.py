"""Country and autonomous system of an address, from local databases of the administrator.

Nothing is fetched and no service is queried: any local file in MaxMind DB format is read.  The
result is displayed and decides nothing.

Rules:

* ``maxminddb`` is imported only if a database is configured;
* a missing or broken database causes one warning, and empty results;
* a file is read once, from a private copy: the reader maps the file into memory, and truncating a
  mapped file kills the process (SIGBUS);
* the text of a database is untrusted: it is cut to a ceiling, and control characters are replaced.
"""

import shutil
import tempfile
from collections.abc import Mapping
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

from blocker.errors import ConfigError
from blocker.model import Subject
from blocker.telemetry import events
from blocker.telemetry.eventlog import emit

UNKNOWN = "ZZ"
"""The code for an unknown country; ISO 3166 reserves it for users."""

MAX_SIZE = 1 << 30
"""Ceiling of a database, bytes."""

MAX_NAME = 64
"""Ceiling of a name, characters."""

MAX_REMEMBERED = 1000
"""Ceiling of the cache; a full cache is emptied."""


class Origin(NamedTuple):
    """Country, number and name of the autonomous system; an unknown one is empty."""

    country: str = ""
    asn: str = ""
    as_name: str = ""


class Origins:
    """The databases of one configuration; without a database, every result is empty.

    Attributes:
        built: build time of each database, seconds since the epoch.
    """

    def __init__(self) -> None:
        self._readers: dict[str, Any] = {}
        self._remembered: dict[Subject, Origin] = {}
        self.built: dict[str, int] = {}

    def open(self, paths: Mapping[str, str], directory: Path) -> None:
        """Open the configured databases.

        Args:
            paths: path of each database by its name, ``country`` or ``asn``; "" for none.
            directory: directory for the copies, which are unlinked at once.
        """
        for name, path in paths.items():
            if path:
                try:
                    self._readers[name] = reader = _reader(path, directory)
                    self.built[name] = int(reader.metadata().build_epoch)
                except ConfigError as error:
                    emit(events.ORIGINS_REFUSED, REASON=error)

    def close(self) -> None:
        """Close the databases."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    @property
    def knows_countries(self) -> bool:
        """Whether a database of countries is open."""
        return "country" in self._readers

    def country(self, subject: Subject) -> str:
        """Return the country of a subject: two capitals, ``UNKNOWN`` if there is no record."""
        return _country(self._record("country", subject)) or UNKNOWN

    def of(self, subject: Subject) -> Origin:
        """Return the origin of a subject, from the cache or the databases."""
        known = self._remembered.get(subject)
        if known is None:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            system = self._record("asn", subject)
            country = _country(self._record("country", subject))
            known = self._remembered[subject] = Origin(country, _number(system), _name(system))
        return known

    def _record(self, name: str, subject: Subject) -> Mapping[str, Any]:
        reader = self._readers.get(name)
        if reader is None or (len(subject) == 16 and reader.metadata().ip_version == 4):
            return {}
        try:
            record = reader.get(ip_address(subject))
        except Exception as error:  # noqa: BLE001 - the reader's own errors, and Python's on nonsense
            reader.close()
            del self._readers[name], self.built[name]
            emit(events.ORIGINS_REFUSED, REASON=f"the database of {name} is broken: {error}")
            return {}
        return record if isinstance(record, dict) else {}


def _reader(path: str, directory: Path) -> Any:
    """Return a reader of a copy of the database.

    Raises:
        ConfigError: the file can't be read or is no such database, or maxminddb is not installed.
    """
    try:
        maxminddb = import_module("maxminddb")
    except ImportError:
        raise ConfigError(
            f"{path}: nothing to read it with; apt install python3-maxminddb"
        ) from None
    try:
        if Path(path).stat().st_size > MAX_SIZE:
            raise ConfigError(f"{path}: larger than {MAX_SIZE >> 20} MiB: not such a database")
        with (
            Path(path).open("rb") as source,
            tempfile.NamedTemporaryFile(dir=directory, prefix="origins-") as copy,
        ):
            shutil.copyfileobj(source, copy)
            copy.flush()
            return maxminddb.open_database(copy.name)
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror or error}; the daemon's user must be able to read it"
        ) from None
    except (maxminddb.InvalidDatabaseError, ValueError, LookupError, TypeError):
        raise ConfigError(f"{path}: not a MaxMind DB file") from None


# The shapes of records -------------------------------------------------------------------------
#
# MaxMind and DB-IP nest (``country.iso_code``, ``autonomous_system_number``); IPinfo and
# ip-location-db are flat (``country_code``, ``asn: "AS64500"``, ``as_name``).


def _country(record: Mapping[str, Any]) -> str:
    nested = (record.get("country"), record.get("registered_country"))
    found = [each.get("iso_code") for each in nested if isinstance(each, dict)]
    for code in (record.get("country_code"), *found, record.get("country")):
        if isinstance(code, str) and len(code) == 2 and code.isascii() and code.isalpha():
            return code.upper()
    return ""


def _number(record: Mapping[str, Any]) -> str:
    number = record.get("autonomous_system_number", record.get("asn"))
    text = str(number).upper().removeprefix("AS")
    return text if text.isascii() and text.isdigit() and len(text) <= 10 else ""


def _name(record: Mapping[str, Any]) -> str:
    keys = ("autonomous_system_organization", "as_name", "name", "organization")
    name = next((each for key in keys if isinstance(each := record.get(key), str)), "")
    return "".join(char if char.isprintable() else " " for char in name[:MAX_NAME]).strip()
