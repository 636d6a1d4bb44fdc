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
);
CREATE INDEX imported_account_name ON imported_account (tenant, name);
