-- +goose Up
-- One text for both engines. Where they differ the dialect replaces: INTEGER PRIMARY KEY, /*identity*/, /*hot*/.
CREATE TABLE counter (
  name TEXT NOT NULL PRIMARY KEY,
  value BIGINT NOT NULL
);
INSERT INTO counter (name, value) VALUES ('seq', 0);

CREATE TABLE generation (
  tenant TEXT NOT NULL,
  kind TEXT NOT NULL,
  value BIGINT NOT NULL,
  PRIMARY KEY (tenant, kind)
);

-- A signal is its own dedup row: one (tenant, source, jti) is kept once.
CREATE TABLE signal (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  tenant TEXT NOT NULL CHECK (tenant <> ''),
  source TEXT NOT NULL,
  door TEXT NOT NULL,
  issuer TEXT NOT NULL,
  jti TEXT NOT NULL,
  issued_at BIGINT NOT NULL,
  txn TEXT NOT NULL,
  event_type TEXT NOT NULL,
  sub_id TEXT NOT NULL,
  event TEXT NOT NULL,
  set_hash TEXT NOT NULL,
  token TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  received BIGINT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  identity TEXT NOT NULL,
  misses TEXT NOT NULL,
  has_order BOOLEAN NOT NULL
);
CREATE UNIQUE INDEX signal_jti ON signal (tenant, source, jti);
CREATE UNIQUE INDEX signal_id ON signal (tenant, id);
CREATE INDEX signal_unresolved ON signal (tenant) WHERE state = 'unresolved';

CREATE TABLE clash (
  seq INTEGER PRIMARY KEY,
  tenant TEXT NOT NULL CHECK (tenant <> ''),
  source TEXT NOT NULL,
  jti TEXT NOT NULL,
  token TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  at BIGINT NOT NULL
);
CREATE UNIQUE INDEX clash_what ON clash (tenant, source, jti, fingerprint);

-- The receiving side's record of a directive.
CREATE TABLE received_order (
  signal BIGINT NOT NULL PRIMARY KEY,
  tenant TEXT NOT NULL CHECK (tenant <> ''),
  directive TEXT NOT NULL,
  receipt_no TEXT NOT NULL,
  refused TEXT NOT NULL,
  receipt_issuer TEXT NOT NULL,
  receipt_audience TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  complete_by BIGINT NOT NULL,
  not_after BIGINT NOT NULL,
  last_seq BIGINT NOT NULL,
  last_hash TEXT NOT NULL,
  stage TEXT NOT NULL,
  outcome TEXT NOT NULL,
  sent_again BIGINT NOT NULL
);

CREATE TABLE decision (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  tenant TEXT NOT NULL CHECK (tenant <> ''),
  signal BIGINT NOT NULL REFERENCES signal (seq),
  at BIGINT NOT NULL,
  inputs TEXT NOT NULL,
  findings TEXT NOT NULL,
  planned TEXT NOT NULL
);
CREATE INDEX decision_signal ON decision (signal);

-- Whom a limit counts.
CREATE TABLE charge (
  tenant TEXT NOT NULL CHECK (tenant <> ''),
  scope TEXT NOT NULL,
  identity TEXT NOT NULL,
  at BIGINT NOT NULL
);
CREATE INDEX charge_scope ON charge (tenant, scope, at);

-- doc holds the members that no query asks for; evidence keeps its bytes exactly, since it is hashed.
CREATE TABLE action (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  tenant TEXT NOT NULL CHECK (tenant <> ''),
  signal BIGINT NOT NULL REFERENCES signal (seq),
  app TEXT NOT NULL,
  identity TEXT NOT NULL,
  state TEXT NOT NULL,
  is_open BOOLEAN NOT NULL,
  doc TEXT NOT NULL,
  evidence TEXT NOT NULL
);
CREATE UNIQUE INDEX action_id ON action (tenant, id);
CREATE INDEX action_signal ON action (signal);

CREATE TABLE attempt (
  seq INTEGER PRIMARY KEY,
  action BIGINT NOT NULL REFERENCES action (seq),
  no BIGINT NOT NULL,
  op TEXT NOT NULL,
  request TEXT NOT NULL,
  idem_key TEXT NOT NULL,
  sent BIGINT NOT NULL,
  answered BIGINT NOT NULL,
  status BIGINT NOT NULL,
  class TEXT NOT NULL,
  note TEXT NOT NULL
);
CREATE UNIQUE INDEX attempt_action ON attempt (action, no);

CREATE TABLE receipt (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  tenant TEXT NOT NULL CHECK (tenant <> ''),
  signal BIGINT NOT NULL REFERENCES signal (seq),
  source TEXT NOT NULL,
  receipt_no TEXT NOT NULL,
  no BIGINT NOT NULL,
  stage TEXT NOT NULL,
  outcome TEXT NOT NULL,
  jti TEXT NOT NULL,
  kid TEXT NOT NULL,
  input TEXT NOT NULL,
  hash TEXT NOT NULL,
  body TEXT NOT NULL,
  chain TEXT NOT NULL,
  chain_no BIGINT NOT NULL,
  endpoint TEXT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  tries BIGINT NOT NULL,
  cut BIGINT NOT NULL,
  accepted BIGINT NOT NULL,
  token TEXT NOT NULL
);
CREATE UNIQUE INDEX receipt_id ON receipt (tenant, id);
CREATE UNIQUE INDEX receipt_signal ON receipt (signal, no);
CREATE UNIQUE INDEX receipt_chain_no ON receipt (tenant, chain_no);

CREATE TABLE receipt_chain (
  tenant TEXT NOT NULL PRIMARY KEY,
  no BIGINT NOT NULL,
  value TEXT NOT NULL
);

-- ready is the moment from which the job may be claimed: its due time while free, the end of the lease while held.
CREATE TABLE job (
  seq INTEGER PRIMARY KEY,
  tenant TEXT NOT NULL CHECK (tenant <> ''),
  kind TEXT NOT NULL,
  ref BIGINT NOT NULL,
  key TEXT NOT NULL,
  due BIGINT NOT NULL,
  ready BIGINT NOT NULL,
  tries BIGINT NOT NULL,
  claim TEXT NOT NULL,
  again BOOLEAN NOT NULL
);
CREATE UNIQUE INDEX job_what ON job (kind, ref, key);
CREATE INDEX job_ready ON job (kind, ready);

CREATE TABLE resource (
  tenant TEXT NOT NULL CHECK (tenant <> ''),
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  owner_set TEXT NOT NULL,
  version BIGINT NOT NULL,
  spec TEXT NOT NULL,
  created BIGINT NOT NULL,
  updated BIGINT NOT NULL,
  PRIMARY KEY (tenant, kind, name)
);
CREATE TABLE identity_email (
  tenant TEXT NOT NULL,
  email TEXT NOT NULL,
  name TEXT NOT NULL,
  PRIMARY KEY (tenant, email, name)
);
CREATE INDEX identity_email_name ON identity_email (tenant, name);
CREATE TABLE identity_account (
  tenant TEXT NOT NULL,
  place TEXT NOT NULL,
  account TEXT NOT NULL,
  name TEXT NOT NULL,
  PRIMARY KEY (tenant, place, account, name)
);
CREATE INDEX identity_account_name ON identity_account (tenant, name);

CREATE TABLE secret (
  tenant TEXT NOT NULL CHECK (tenant <> ''),
  name TEXT NOT NULL,
  sealed BYTEA NOT NULL,
  created BIGINT NOT NULL,
  updated BIGINT NOT NULL,
  PRIMARY KEY (tenant, name)
);
CREATE TABLE signing_key (
  tenant TEXT NOT NULL CHECK (tenant <> ''),
  kid TEXT NOT NULL,
  alg TEXT NOT NULL,
  state TEXT NOT NULL,
  public_jwk TEXT NOT NULL,
  sealed BYTEA NOT NULL,
  created BIGINT NOT NULL,
  PRIMARY KEY (tenant, kid)
);
CREATE TABLE access_token (
  id TEXT NOT NULL PRIMARY KEY,
  tenant TEXT NOT NULL CHECK (tenant <> ''),
  name TEXT NOT NULL,
  client TEXT NOT NULL,
  hash BYTEA NOT NULL,
  scopes TEXT NOT NULL,
  created BIGINT NOT NULL,
  expires BIGINT NOT NULL,
  revoked BIGINT NOT NULL
);
CREATE UNIQUE INDEX access_token_hash ON access_token (hash);
CREATE TABLE source_stream (
  tenant TEXT NOT NULL CHECK (tenant <> ''),
  source TEXT NOT NULL,
  state TEXT NOT NULL,
  PRIMARY KEY (tenant, source)
);
CREATE TABLE idempotency (
  tenant TEXT NOT NULL CHECK (tenant <> ''),
  client TEXT NOT NULL,
  key TEXT NOT NULL,
  body_hash TEXT NOT NULL,
  ref TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (tenant, client, key)
);

-- What the transmitter keeps.
CREATE TABLE stream (
  seq INTEGER PRIMARY KEY,
  tenant TEXT NOT NULL CHECK (tenant <> ''),
  id TEXT NOT NULL,
  receiver TEXT NOT NULL,
  status TEXT NOT NULL,
  doc TEXT NOT NULL,
  receipts TEXT NOT NULL,
  auth BYTEA,
  generation BIGINT NOT NULL,
  fails BIGINT NOT NULL,
  next_at BIGINT NOT NULL,
  since BIGINT NOT NULL,
  fault BOOLEAN NOT NULL,
  trouble TEXT NOT NULL,
  delivered BIGINT NOT NULL
);
CREATE UNIQUE INDEX stream_id ON stream (tenant, id);
CREATE INDEX stream_receiver ON stream (tenant, receiver);

CREATE TABLE event (
  seq INTEGER PRIMARY KEY,
  tenant TEXT NOT NULL,
  type TEXT NOT NULL,
  subject BYTEA NOT NULL,
  body BYTEA NOT NULL
);
CREATE TABLE outbox (
  stream BIGINT NOT NULL,
  seq BIGINT NOT NULL /*identity*/,
  event BIGINT NOT NULL,
  jti TEXT NOT NULL,
  issued_at BIGINT NOT NULL,
  kid TEXT NOT NULL,
  alg TEXT NOT NULL,
  sent_order BIGINT NOT NULL,
  PRIMARY KEY (stream, seq)
) /*hot*/;
CREATE TABLE dead_letter (
  stream BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  event BIGINT NOT NULL,
  jti TEXT NOT NULL,
  issued_at BIGINT NOT NULL,
  kid TEXT NOT NULL,
  alg TEXT NOT NULL,
  sent_order BIGINT NOT NULL,
  status BIGINT NOT NULL,
  reason TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (stream, seq)
);
CREATE TABLE sent_order (
  seq INTEGER PRIMARY KEY,
  tenant TEXT NOT NULL CHECK (tenant <> ''),
  receiver TEXT NOT NULL,
  receipt_issuer TEXT NOT NULL,
  jti TEXT NOT NULL,
  stream_id TEXT NOT NULL,
  receipt_audience TEXT NOT NULL,
  set_hash TEXT NOT NULL,
  input TEXT NOT NULL,
  event_type TEXT NOT NULL,
  txn TEXT NOT NULL,
  issued_at BIGINT NOT NULL,
  complete_by BIGINT NOT NULL,
  state TEXT NOT NULL,
  disputed TEXT NOT NULL
);
CREATE UNIQUE INDEX sent_order_key ON sent_order (tenant, receiver, receipt_issuer, jti);
CREATE INDEX sent_order_stream ON sent_order (tenant, stream_id) WHERE state = 'queued';
CREATE TABLE accepted_receipt (
  seq INTEGER PRIMARY KEY,
  tenant TEXT NOT NULL CHECK (tenant <> ''),
  sent_order BIGINT NOT NULL REFERENCES sent_order (seq),
  order_jti TEXT NOT NULL,
  issuer TEXT NOT NULL,
  jti TEXT NOT NULL,
  number TEXT NOT NULL,
  no BIGINT NOT NULL,
  stage TEXT NOT NULL,
  outcome TEXT NOT NULL,
  hash TEXT NOT NULL,
  issued_at BIGINT NOT NULL,
  received_at BIGINT NOT NULL,
  supersedes TEXT NOT NULL,
  compact TEXT NOT NULL,
  accepted BIGINT NOT NULL,
  gap BOOLEAN NOT NULL,
  late BOOLEAN NOT NULL,
  disputed BOOLEAN NOT NULL
);
CREATE INDEX accepted_receipt_order ON accepted_receipt (sent_order, no);
CREATE UNIQUE INDEX accepted_receipt_jti ON accepted_receipt (tenant, issuer, jti) WHERE NOT disputed;
CREATE INDEX accepted_receipt_number ON accepted_receipt (tenant, issuer, number);
