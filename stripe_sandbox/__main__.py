"""`python -m stripe_sandbox`: a stand-in for Stripe on this machine, until Ctrl-C or SIGTERM."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import structlog
from pydantic import ValidationError

from stripe_sandbox.app import serve
from stripe_sandbox.database import StateInUse, StateUnreadable
from stripe_sandbox.settings import SandboxSettings


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m stripe_sandbox",
        description="A stand-in for Stripe: its wire, its test cards, no money.",
        epilog="Everything can be set by STRIPE_SANDBOX_... variables, too; the key only so.",
    )
    parser.add_argument("--host", dest="http_host", help="address to listen on (127.0.0.1)")
    parser.add_argument(
        "--port", dest="http_port", type=int, help="port to listen on (12111; 0: a free one)"
    )
    parser.add_argument("--state", type=Path, help="file that everything is kept in")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    try:
        settings = SandboxSettings(**given)
    except ValidationError as error:
        for one in error.errors(include_input=False):
            print(f"{'.'.join(map(str, one['loc'])) or 'settings'}: {one['msg']}", file=sys.stderr)
        return 2
    if not sys.stdout.isatty():
        _log_as_json()
    try:
        asyncio.run(_until_told(settings))
    except (StateInUse, StateUnreadable) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        where = f"{settings.http_host}:{settings.http_port}"
        print(f"cannot listen on {where}: {error}", file=sys.stderr)
        return 1
    return 0


def _log_as_json() -> None:
    """One line of JSON for each event, as programs read them."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    )


async def _until_told(settings: SandboxSettings) -> None:
    stop = asyncio.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(one, stop.set)
    await serve(settings, stop)


if __name__ == "__main__":
    sys.exit(main())
