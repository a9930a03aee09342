"""Values: frozen, compared by what they hold, and quick to make.

The pure core does little else than make the next value out of the one before. A struct of msgspec
does that in C, in a quarter of the time that Python takes for a frozen dataclass (decision 85).
"""

from typing import TYPE_CHECKING

from msgspec import NODEFAULT, Struct, field
from msgspec.structs import FieldInfo, asdict, astuple, fields

if TYPE_CHECKING:
    from dataclasses import replace  # its arguments are checked, those of structs too
else:
    from msgspec.structs import replace

__all__ = ["NODEFAULT", "FieldInfo", "Struct", "asdict", "astuple", "field", "fields", "replace"]
