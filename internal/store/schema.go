package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"countersign/internal/hub"
)

// DropSchema removes a PostgreSQL schema with all that is in it. It is for schemas that were made for one run, such
// as a demo's; a hub of a tenant's data never calls it.
func DropSchema(ctx context.Context, database, schema string) error {
	if schema == "" || schema == "public" {
		return hub.Errorf(hub.Invalid, "the schema %q is not one made for a run", schema)
	}
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return hub.Errorf(hub.Unavailable, "database: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `DROP SCHEMA IF EXISTS `+pgx.Identifier{schema}.Sanitize()+` CASCADE`); err != nil {
		return hub.Errorf(hub.Unavailable, "drop schema: %w", err)
	}
	return nil
}
