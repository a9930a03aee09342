"""The bounds of the catalog."""

from pydantic import Field

from messaging.settings import ServiceSettings, service_settings


class CatalogSettings(ServiceSettings):
    """Settings of the catalog; the environment prefix is `CATALOG_`."""

    model_config = service_settings("CATALOG_")

    variants_per_product: int = Field(
        1000, ge=1, description="Most variants of a product; it is read and written whole."
    )
    import_body_bytes: int = Field(
        32 * 1024 * 1024,
        ge=1,
        description="Largest body of an import; others have HTTP_BODY_BYTES.",
    )
    import_rows: int = Field(
        20_000, ge=1, description="Most rows of an import; all of them are one transaction."
    )
    import_refusals_listed: int = Field(
        1000, ge=1, description="Most refused rows that the answer to an import lists."
    )
    save_chunk_rows: int = Field(
        1000, ge=1, description="Most products or variants written by one statement."
    )
