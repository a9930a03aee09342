"""Every service's migrations, run in one go."""

from collections.abc import Collection, Iterator, Mapping

from messaging.migrations import upgrade
from trolley.services import SERVICES


def migrate(environment: Mapping[str, str], names: Collection[str] = ()) -> Iterator[str]:
    """Brings the databases of the named services, or of all, to their newest schema.

    Yields the name of each database when it is done.
    """
    for service in SERVICES:
        if names and service.name not in names:
            continue
        for database in service.databases:
            if database.migrations is not None:
                upgrade(database.migrations, environment[database.setting])
                yield database.name
