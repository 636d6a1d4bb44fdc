package store

import (
	"database/sql"
	"strings"
	"testing"

	"countersign/transmitter"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// firstVersion makes a database as the first version left it, with rows.
func firstVersion(t *testing.T, p place) {
	t.Helper()
	ctx := t.Context()
	var db *sql.DB
	var d *dialect
	kind := goose.DialectSQLite3
	if path, ok := strings.CutPrefix(p.url, "sqlite:"); ok {
		d = &sqliteDialect
		var err error
		db, err = sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)")
		must(t, err)
	} else {
		d, kind = &postgresDialect, goose.DialectPostgres
		cfg, err := pgx.ParseConfig(p.url)
		must(t, err)
		cfg.RuntimeParams["search_path"] = p.schema
		db = stdlib.OpenDB(*cfg)
		_, err = db.ExecContext(ctx, `CREATE SCHEMA `+p.schema)
		must(t, err)
	}
	defer db.Close()
	g, err := goose.NewProvider(kind, db, d.migrations(), goose.WithDisableGlobalRegistry(true), goose.WithTableName("schema_version"))
	must(t, err)
	_, err = g.UpTo(ctx, 1)
	must(t, err)
	for _, q := range []string{
		`UPDATE counter SET value = 65536`,
		`INSERT INTO generation (tenant, kind, value) VALUES ('default', 'stream', 4)`,
		`INSERT INTO stream (seq, tenant, id, receiver, status, doc, receipts, generation, fails, next_at, since, fault, trouble, delivered)
			VALUES (1, 'default', 'str_1', 'r', 'enabled', '{"aud":["a"],"req":null,"del":["urn:example:a"],"no_receipts":true}', '', 4, 0, 0, 0, FALSE, '', 7)`,
		`INSERT INTO event (seq, tenant, type, subject, body) VALUES (2, 'default', 'urn:example:a', '0123456789abcdef', 'body')`,
		`INSERT INTO event (seq, tenant, type, subject, body) VALUES (3, 'default', 'urn:example:a', '0123456789abcdef', 'body')`,
		`INSERT INTO event (seq, tenant, type, subject, body) VALUES (4, 'default', 'urn:example:a', '0123456789abcdef', 'nobody needs it')`,
		`INSERT INTO outbox (stream, seq, event, jti, issued_at, kid, alg, sent_order) VALUES (1, 5, 2, 'waits', 1700000000, 'k', 'ES256', 9)`,
		`INSERT INTO dead_letter (stream, seq, event, jti, issued_at, kid, alg, sent_order, status, reason, at) VALUES (1, 4, 3, 'dead', 1600000000, 'k', 'ES256', 0, 400, 'why', 1600000001000000)`,
		`INSERT INTO sent_order (seq, tenant, receiver, receipt_issuer, jti, stream_id, receipt_audience, set_hash, input, event_type, txn, issued_at, complete_by, state, disputed)
			VALUES (9, 'default', 'r', 'i', 'waits', 'str_1', 'a', 'sha-256:x', 'h.p', 'urn:example:a', 'txn', 1700000000, 0, 'queued', '')`,
		`INSERT INTO signing_key (tenant, kid, alg, state, public_jwk, sealed, created) VALUES ('default', 'k', 'ES256', 'active', '{}', '', 5)`,
	} {
		_, err := db.ExecContext(ctx, q)
		must(t, err)
	}
}

// A database of the first version is brought up to date with all that is in it.
func TestOldDatabasesMigrate(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		firstVersion(t, p)
		s := p.open(t, Config{})
		ctx := t.Context()
		v := s.Transmitter(tenant, nil)
		items, err := v.Next(ctx, 1, 0, 10)
		must(t, err)
		if len(items) != 1 || items[0].JTI != "waits" || items[0].Input != "h.p" || string(items[0].Event.Body) != "body" || items[0].Event.At != 1_700_000_000_000_000 || items[0].Parting {
			t.Fatalf("waiting: %+v", items)
		}
		dead, err := v.Dead(ctx, 1, 10)
		must(t, err)
		if len(dead) != 1 || dead[0].Item.Event.At != 1_600_000_000_000_000 || dead[0].Reason != "why" {
			t.Fatalf("dead: %+v", dead)
		}
		o, err := v.Order(ctx, transmitter.OrderKey{Receiver: "r", ReceiptIssuer: "i", JTI: "waits"})
		must(t, err)
		if o.State != transmitter.OrderQueued || o.Withdrawn != 0 || o.Key != 9 {
			t.Fatalf("order: %+v", o)
		}
		st, err := v.Stream(ctx, "r", "str_1")
		must(t, err)
		if st.Listed || st.Active != 0 || st.Delivered[0] != "urn:example:a" {
			t.Fatalf("stream: %+v", st)
		}
		must(t, v.Done(ctx, []transmitter.Outcome{{Stream: 1, Seq: 5, At: 9}}))
		c, err := v.Counts(ctx, 1)
		must(t, err)
		if c.Delivered != 8 || c.Waiting != 0 || c.Dead != 1 {
			t.Fatalf("%+v", c)
		}
		if n, err := v.Purge(ctx, 1_650_000_000_000_000, 10); err != nil || n != 1+1+2 { // the line, the letter, two events
			t.Fatalf("%d went, %v", n, err)
		}
	})
}
