"""What operators decide about checkouts that need attention."""

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENTS = (
    """
    CREATE TABLE resolutions (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        checkout_id uuid NOT NULL REFERENCES checkouts (checkout_id),
        at timestamptz NOT NULL,
        decision text NOT NULL,
        requested_by text NOT NULL,
        reason text NOT NULL
    )
    """,
    "CREATE INDEX ix_resolutions_checkout_id ON resolutions (checkout_id)",
)


def upgrade() -> None:
    """Create the table of decisions."""
    for statement in STATEMENTS:
        op.execute(statement)
