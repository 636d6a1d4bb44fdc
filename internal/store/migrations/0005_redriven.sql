-- +goose Up
-- When a dead letter was put back among the rows that wait: its age counts from then, not from its event. Rows go when
-- they say nothing of an age any more.
CREATE TABLE redriven (
  stream BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  tenant TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (stream, seq)
);
CREATE INDEX redriven_at ON redriven (tenant, at);
