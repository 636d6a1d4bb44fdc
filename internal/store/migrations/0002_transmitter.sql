-- +goose Up
-- The whole Transmitter: history, subject lists, parting rows, leases, ledger, OAuth.

ALTER TABLE event ADD COLUMN txn TEXT NOT NULL DEFAULT '';
ALTER TABLE event ADD COLUMN at BIGINT NOT NULL DEFAULT 0;
UPDATE event SET at = o.at * 1000000 FROM (SELECT event, min(issued_at) AS at FROM outbox GROUP BY event) o WHERE o.event = event.seq;
UPDATE event SET at = o.at * 1000000 FROM (SELECT event, min(issued_at) AS at FROM dead_letter GROUP BY event) o WHERE o.event = event.seq AND event.at = 0;
CREATE INDEX event_at ON event (tenant, at);

-- What a receiver is told in place of event.body: another identifier, another shape.
CREATE TABLE event_body (
  event BIGINT NOT NULL,
  no BIGINT NOT NULL,
  body BYTEA NOT NULL,
  PRIMARY KEY (event, no)
);

ALTER TABLE outbox ADD COLUMN body BIGINT NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN parting BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX outbox_parting ON outbox (stream) WHERE parting;
ALTER TABLE dead_letter ADD COLUMN body BIGINT NOT NULL DEFAULT 0;
ALTER TABLE dead_letter ADD COLUMN parting BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE dead_letter ADD COLUMN tries BIGINT NOT NULL DEFAULT 0;
ALTER TABLE dead_letter ADD COLUMN first_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX dead_letter_stream ON dead_letter (stream, at);
CREATE INDEX dead_letter_at ON dead_letter (at);

-- The history of what was delivered: many lines in one row. Package store, page.go, says how entries are packed.
CREATE TABLE delivery_page (
  seq INTEGER PRIMARY KEY /*auto*/,
  tenant TEXT NOT NULL,
  stream BIGINT NOT NULL,
  first_event BIGINT NOT NULL,
  last_event BIGINT NOT NULL,
  first_at BIGINT NOT NULL,
  last_at BIGINT NOT NULL,
  n BIGINT NOT NULL,
  entries BYTEA NOT NULL
);
CREATE INDEX delivery_page_stream ON delivery_page (stream, last_at);
CREATE INDEX delivery_page_tenant ON delivery_page (tenant, last_at);

CREATE TABLE skip (
  seq INTEGER PRIMARY KEY /*auto*/,
  tenant TEXT NOT NULL,
  stream BIGINT NOT NULL,
  event BIGINT NOT NULL,
  reason TEXT NOT NULL,
  at BIGINT NOT NULL
);
CREATE INDEX skip_at ON skip (tenant, at);

ALTER TABLE stream ADD COLUMN active BIGINT NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN inactivity BIGINT NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN listed BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE stream ADD COLUMN subjects BIGINT NOT NULL DEFAULT 0;

-- Whom a stream is told of, by the key of each part of a subject. id is empty where it is the key: a simple subject.
CREATE TABLE stream_subject (
  key BYTEA NOT NULL,
  stream BIGINT NOT NULL,
  id BYTEA NOT NULL,
  flags BIGINT NOT NULL,
  until BIGINT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (key, stream, id)
) /*rowless*/;
-- The subjects of more than one part.
CREATE TABLE stream_complex (
  stream BIGINT NOT NULL,
  id BYTEA NOT NULL,
  keys BYTEA NOT NULL,
  subject TEXT NOT NULL,
  PRIMARY KEY (stream, id)
);
-- Streams that are gone and whose subjects are still to be removed.
CREATE TABLE stream_gone (
  stream BIGINT NOT NULL PRIMARY KEY
);

ALTER TABLE sent_order ADD COLUMN interim_by BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sent_order ADD COLUMN receipt_when TEXT NOT NULL DEFAULT '';
ALTER TABLE sent_order ADD COLUMN arrived BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sent_order ADD COLUMN withdrawn BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sent_order ADD COLUMN withdrawn_why TEXT NOT NULL DEFAULT '';
CREATE INDEX sent_order_jti ON sent_order (tenant, jti);
CREATE INDEX sent_order_hash ON sent_order (tenant, set_hash);
CREATE INDEX sent_order_txn ON sent_order (tenant, txn);

ALTER TABLE signing_key ADD COLUMN changed BIGINT NOT NULL DEFAULT 0;

CREATE TABLE oauth_access (
  hash BYTEA NOT NULL PRIMARY KEY,
  id TEXT NOT NULL,
  tenant TEXT NOT NULL CHECK (tenant <> ''),
  client TEXT NOT NULL,
  scopes TEXT NOT NULL,
  expires BIGINT NOT NULL
);
CREATE INDEX oauth_access_id ON oauth_access (tenant, id);
CREATE INDEX oauth_access_client ON oauth_access (tenant, client);
CREATE INDEX oauth_access_expires ON oauth_access (expires);
CREATE TABLE oauth_assertion (
  seq INTEGER PRIMARY KEY /*auto*/,
  tenant TEXT NOT NULL CHECK (tenant <> ''),
  client TEXT NOT NULL,
  jti TEXT NOT NULL,
  until BIGINT NOT NULL
);
CREATE UNIQUE INDEX oauth_assertion_jti ON oauth_assertion (tenant, client, jti);
CREATE INDEX oauth_assertion_until ON oauth_assertion (until);

-- Nodes and what they deliver; only PostgreSQL has several. A lease holds while its owner was seen lately.
CREATE TABLE node (
  id TEXT NOT NULL PRIMARY KEY,
  seen BIGINT NOT NULL
);
CREATE TABLE shard_lease (
  shard BIGINT NOT NULL PRIMARY KEY,
  owner TEXT NOT NULL,
  epoch BIGINT NOT NULL
);
WITH RECURSIVE shards (shard) AS (SELECT 0 UNION ALL SELECT shard + 1 FROM shards WHERE shard < 255)
INSERT INTO shard_lease (shard, owner, epoch) SELECT shard, '', 0 FROM shards;
