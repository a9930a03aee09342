"""The databases of the services: made when they are missing."""

from collections.abc import Sequence
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg

from trolley.runtime.errors import DatabaseUnavailable

_MAINTENANCE = "postgres"


async def ensure_databases(urls: Sequence[str], *, connect_seconds: float) -> None:
    """Creates those of the databases that do not exist; raises DatabaseUnavailable."""
    for url in urls:
        try:
            connection = await asyncpg.connect(url, timeout=connect_seconds)
            await connection.close()
        except asyncpg.InvalidCatalogNameError:
            await _create(url, connect_seconds)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise _unavailable(url, error) from error


async def _create(url: str, connect_seconds: float) -> None:
    parts = urlsplit(url)
    name = unquote(parts.path.removeprefix("/")).replace('"', '""')
    maintenance = urlunsplit(parts._replace(path=f"/{_MAINTENANCE}"))
    try:
        connection = await asyncpg.connect(maintenance, timeout=connect_seconds)
        try:
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
    except asyncpg.DuplicateDatabaseError:
        return  # another process was faster
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise _unavailable(url, error) from error


def _unavailable(url: str, error: Exception) -> DatabaseUnavailable:
    return DatabaseUnavailable(without_password(url), str(error) or type(error).__name__)


def without_password(url: str) -> str:
    """The URL as it may be shown: no password, no options."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    user = f"{parts.username}@" if parts.username else ""
    return urlunsplit(parts._replace(netloc=f"{user}{host}", query=""))
