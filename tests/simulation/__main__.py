"""`python -m tests.simulation`: run worlds from a seed on, until something breaks or all held."""

import argparse
import sys
from collections import Counter
from time import perf_counter, process_time

from tests.simulation.mutants import Mutant
from tests.simulation.search import Failed, run_worlds


def main(arguments: list[str] | None = None) -> int:
    """Exit code 1 when an invariant broke; its seed and a shortened trace are printed then."""
    options = _options(arguments)
    mutant = None if options.mutant is None else Mutant[options.mutant]
    began, began_cpu = perf_counter(), process_time()
    done = 0
    injected: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for number, world in enumerate(run_worlds(options.seed, options.checkouts, mutant)):
        if isinstance(world, Failed):
            print(world, flush=True)
            return 1
        done += world.checkouts
        injected.update(world.injected)
        ended.update(world.ended)
        rate = done / (perf_counter() - began) * 60
        if options.digests:
            print(f"{options.seed + number} {world.digest}")
        print(f"\r{done:,} checkouts, {rate:,.0f} a minute", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    seconds, cpu_seconds = perf_counter() - began, process_time() - began_cpu
    print(f"{done:,} checkouts in {seconds:.1f} s: {done / seconds * 60:,.0f} a minute")
    print(f"{cpu_seconds:.1f} s of one core: {done / cpu_seconds * 60:,.0f} a minute")
    print("ended:    " + _counts(ended))
    print("injected: " + _counts(injected))
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first world (1)")
    parser.add_argument("--checkouts", type=int, default=10_000, help="in all (10000)")
    parser.add_argument("--digests", action="store_true", help="print the digest of each trace")
    parser.add_argument("--mutant", choices=[each.name for each in Mutant], help="a bug on purpose")
    return parser.parse_args(arguments)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in sorted(counter.items()))


if __name__ == "__main__":
    sys.exit(main())
