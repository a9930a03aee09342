"""What can go wrong when a runtime starts; each is told in one sentence that says what to do."""

from pathlib import Path


class RuntimeStartError(Exception):
    """Base of all errors of the local runtime; `str()` of it is shown to the user as it is."""


class PortInUse(RuntimeStartError):
    """Another process listens on a port that this runtime was told to use."""

    def __init__(self, port: int, wanted_for: str, setting: str | None = None) -> None:
        self.port, self.wanted_for, self.setting = port, wanted_for, setting
        how = (
            f"set {setting} to a free port"
            if setting
            else "set another one or leave it out to have a free one picked"
        )
        super().__init__(
            f"Port {port}, wanted for {wanted_for}, is in use by another program: "
            f"stop that program or {how}."
        )


class NoFreePort(RuntimeStartError):
    """Every port of the configured range is taken."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        super().__init__(
            f"No free port was found from {first} to {last}: stop what uses them or set "
            f"TROLLEY_FIRST_PORT and TROLLEY_LAST_PORT to another range."
        )


class DiskFull(RuntimeStartError):
    """The file system of the state directory has too little space left."""

    def __init__(self, path: Path, free_mib: int, needed_mib: int) -> None:
        self.path, self.free_mib, self.needed_mib = path, free_mib, needed_mib
        super().__init__(
            f"The disk of {path} is full ({free_mib} MiB free, {needed_mib} MiB needed): free some "
            f"space there or choose a state directory on another disk with --home."
        )


class DownloadMissing(RuntimeStartError):
    """The Kafka jars are not in the local cache and could not be fetched."""

    def __init__(self, coordinates: str, reason: str) -> None:
        self.coordinates, self.reason = coordinates, reason
        super().__init__(
            f"Kafka ({coordinates}) is needed once from the Maven repository and could not be "
            f"downloaded ({reason}): connect to the network, or set KAFKA_BOOTSTRAP_SERVERS to use "
            f"a running Kafka."
        )


class DirectoryUnwritable(RuntimeStartError):
    """The state directory cannot be created or written."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(
            f"The state directory {path} cannot be written ({reason}): make it writable for this "
            f"user or choose another one with --home."
        )


class AlreadyRunning(RuntimeStartError):
    """Another supervisor holds this state directory."""

    def __init__(self, home: Path, pid: int | None) -> None:
        self.home, self.pid = home, pid
        who = f" (process {pid})" if pid else ""
        super().__init__(
            f"Trolley already runs in {home}{who}: use it, stop it with `trolley down`, or start "
            f"another one with --home."
        )


class NoUserForPostgres(RuntimeStartError):
    """PostgreSQL refuses to run as root and the machine has no other user to run it as."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        super().__init__(
            f"PostgreSQL does not run as root and none of the users {', '.join(names)} exists: "
            f"create one of them, run Trolley as another user, or set the database URLs."
        )


class NoReachableDirectory(RuntimeStartError):
    """No directory could be found that the user of PostgreSQL can enter."""

    def __init__(self, user: str, tried: tuple[Path, ...]) -> None:
        self.user, self.tried = user, tried
        super().__init__(
            f"PostgreSQL runs as {user}, who can reach none of {', '.join(map(str, tried))}: "
            f"choose a state directory with --home that this user can enter."
        )


class StartFailed(RuntimeStartError):
    """A process ended or stayed silent while it was being started."""

    def __init__(self, name: str, reason: str, log: Path, last_line: str | None = None) -> None:
        self.name, self.reason, self.log, self.last_line = name, reason, log, last_line
        said = f"; it said: {last_line}" if last_line else ""
        super().__init__(f"{name} did not start: {reason}{said} (log: {log}).")


class DatabaseUnavailable(RuntimeStartError):
    """A database can neither be reached nor created; its URL is shown without the password."""

    def __init__(self, url: str, reason: str) -> None:
        self.url, self.reason = url, reason
        super().__init__(
            f"The database {url} cannot be used ({reason}): check its address and password, and "
            f"create it if its user may not."
        )


class KafkaUnavailable(RuntimeStartError):
    """Kafka cannot be reached, or refuses what is needed of it."""

    def __init__(self, servers: str, reason: str) -> None:
        self.servers, self.reason = servers, reason
        super().__init__(
            f"Kafka at {servers} cannot be used ({reason}): check KAFKA_BOOTSTRAP_SERVERS and the "
            f"other KAFKA_ settings, and that the broker runs."
        )
