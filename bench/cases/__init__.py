"""Every case, in the order in which they are measured."""

from bench.case import Case
from bench.cases.floor import FLOOR
from bench.cases.footprint import FOOTPRINT
from bench.cases.full import FULL
from bench.cases.hot import HOT_CASE
from bench.cases.http import HTTP
from bench.cases.latency import LATENCY
from bench.cases.provider import PROVIDER
from bench.cases.rig import RIG
from bench.cases.saga import SAGA
from bench.cases.scale import SCALE
from bench.cases.shop import SHOP
from bench.cases.soak import SOAK

MARKS: tuple[Case, ...] = (FLOOR, RIG)
"""Measured in every session: what the others are held against."""

CASES: tuple[Case, ...] = (
    *(SAGA, LATENCY, HTTP, SHOP, HOT_CASE),
    *(PROVIDER, SCALE, FOOTPRINT, SOAK, FULL),
)
