-- +goose Up
-- What sources sent and what was not taken, for their operators; without tokens. n counts those alike within one moment.
CREATE TABLE refused (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  tenant TEXT NOT NULL CHECK (tenant <> ''),
  source TEXT NOT NULL,
  door TEXT NOT NULL,
  status BIGINT NOT NULL,
  err TEXT NOT NULL,
  reason TEXT NOT NULL,
  quirk TEXT NOT NULL,
  cure TEXT NOT NULL,
  side TEXT NOT NULL,
  jti TEXT NOT NULL,
  size BIGINT NOT NULL,
  n BIGINT NOT NULL,
  at BIGINT NOT NULL,
  last BIGINT NOT NULL
);
CREATE INDEX refused_source ON refused (tenant, source, id);
CREATE UNIQUE INDEX refused_id ON refused (tenant, id);
