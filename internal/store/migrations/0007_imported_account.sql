-- +goose Up
-- Accounts that were read from an app's own list. Those that identities name themselves stand in identity_account, and are
-- written anew with the identity; these stay until the list is read again.
CREATE TABLE imported_account (
  tenant TEXT NOT NULL CHECK (tenant <> ''),
  place TEXT NOT NULL,
  account TEXT NOT NULL,
  name TEXT NOT NULL,
  owner_set TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (tenant, place, account, name)
) /*rowless*/;
CREATE INDEX imported_account_name ON imported_account (tenant, name);

-- What people are found by is all in its key: one tree less to write for each address and account.
CREATE TABLE identity_email_new (
  tenant TEXT NOT NULL,
  email TEXT NOT NULL,
  name TEXT NOT NULL,
  PRIMARY KEY (tenant, email, name)
) /*rowless*/;
INSERT INTO identity_email_new (tenant, email, name) SELECT tenant, email, name FROM identity_email;
DROP TABLE identity_email;
ALTER TABLE identity_email_new RENAME TO identity_email;
CREATE INDEX identity_email_name ON identity_email (tenant, name);
CREATE TABLE identity_account_new (
  tenant TEXT NOT NULL,
  place TEXT NOT NULL,
  account TEXT NOT NULL,
  name TEXT NOT NULL,
  PRIMARY KEY (tenant, place, account, name)
) /*rowless*/;
INSERT INTO identity_account_new (tenant, place, account, name) SELECT tenant, place, account, name FROM identity_account;
DROP TABLE identity_account;
ALTER TABLE identity_account_new RENAME TO identity_account;
CREATE INDEX identity_account_name ON identity_account (tenant, name);

-- Keys of clients are forgotten after a day.
CREATE INDEX idempotency_at ON idempotency (at);
