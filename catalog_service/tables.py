"""The tables of the catalog. Codes and SKUs are natural keys, compared byte by byte.

`prices` repeats the base price beside each additional price, held equal to the product's by a
foreign key, so that the price of a SKU is a column that can be checked and searched.
"""

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from messaging.tables import service_tables

if TYPE_CHECKING:
    from sqlmodel import SQLModel

    Table = SQLModel
else:
    Table = service_tables("catalog")


def _key() -> Column[str]:
    return Column(Text(collation="C"), nullable=False)


def _minor() -> Column[int]:
    return Column(BigInteger, nullable=False)


class Catalog(Table, table=True):
    """One row per shop: the lock root of everything that changes its catalog."""

    __tablename__ = "catalogs"

    shop_id: str = Field(sa_column=Column(Text(collation="C"), primary_key=True))


class ProductRow(Table, table=True):
    """A product; `version` counts every change of it, its prices and its variants."""

    __tablename__ = "products"
    __table_args__ = (
        PrimaryKeyConstraint("shop_id", "code"),
        CheckConstraint("status IN ('active', 'inactive')", name="products_status"),
        CheckConstraint("version > 0", name="products_version"),
        Index("products_by_name", "shop_id", "folded_name", "code"),
    )

    shop_id: str = Field(sa_column=_key())
    code: str = Field(sa_column=_key())
    name: str = Field(sa_column=Column(Text, nullable=False))
    folded_name: str = Field(
        sa_column=Column(Text(collation="C"), Computed("lower(name)", persisted=True))
    )
    status: str = Field(sa_column=Column(Text, nullable=False))
    attributes: dict[str, str] = Field(sa_column=Column(JSONB, nullable=False))
    version: int = Field(sa_column=_minor())
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    updated_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


class BasePriceRow(Table, table=True):
    """What every variant of a product costs in one currency before its additional price."""

    __tablename__ = "base_prices"
    __table_args__ = (
        PrimaryKeyConstraint("shop_id", "product_code", "currency"),
        UniqueConstraint(
            "shop_id", "product_code", "currency", "amount_minor", name="base_prices_amount"
        ),
        ForeignKeyConstraint(["shop_id", "product_code"], ["products.shop_id", "products.code"]),
        CheckConstraint("amount_minor >= 0", name="base_prices_not_negative"),
    )

    shop_id: str = Field(sa_column=_key())
    product_code: str = Field(sa_column=_key())
    currency: str = Field(sa_column=_key())
    amount_minor: int = Field(sa_column=_minor())


class VariantRow(Table, table=True):
    """A variant; an empty name means the product's. `version` is that of its CatalogItem."""

    __tablename__ = "variants"
    __table_args__ = (
        PrimaryKeyConstraint("shop_id", "sku"),
        UniqueConstraint("shop_id", "product_code", "sku", name="variants_of_product"),
        ForeignKeyConstraint(["shop_id", "product_code"], ["products.shop_id", "products.code"]),
        CheckConstraint("status IN ('active', 'inactive')", name="variants_status"),
        CheckConstraint("version > 0", name="variants_version"),
    )

    shop_id: str = Field(sa_column=_key())
    sku: str = Field(sa_column=_key())
    product_code: str = Field(sa_column=_key())
    name: str = Field(sa_column=Column(Text, nullable=False))
    status: str = Field(sa_column=Column(Text, nullable=False))
    attributes: dict[str, str] = Field(sa_column=Column(JSONB, nullable=False))
    version: int = Field(sa_column=_minor())
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    updated_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


class PriceRow(Table, table=True):
    """What one piece of a SKU costs in one currency: base + additional, never negative."""

    __tablename__ = "prices"
    __table_args__ = (
        PrimaryKeyConstraint("shop_id", "sku", "currency"),
        ForeignKeyConstraint(
            ["shop_id", "product_code", "sku"],
            ["variants.shop_id", "variants.product_code", "variants.sku"],
        ),
        ForeignKeyConstraint(
            ["shop_id", "product_code", "currency", "base_minor"],
            [
                "base_prices.shop_id",
                "base_prices.product_code",
                "base_prices.currency",
                "base_prices.amount_minor",
            ],
            deferrable=True,
            initially="DEFERRED",
        ),
        CheckConstraint("base_minor + additional_minor >= 0", name="prices_not_negative"),
        Index("prices_of_product", "shop_id", "product_code", "currency", "amount_minor"),
        Index("prices_by_amount", "shop_id", "currency", "amount_minor"),
    )

    shop_id: str = Field(sa_column=_key())
    sku: str = Field(sa_column=_key())
    currency: str = Field(sa_column=_key())
    product_code: str = Field(sa_column=_key())
    base_minor: int = Field(sa_column=_minor())
    additional_minor: int = Field(sa_column=_minor())
    amount_minor: int = Field(
        sa_column=Column(BigInteger, Computed("base_minor + additional_minor", persisted=True))
    )
