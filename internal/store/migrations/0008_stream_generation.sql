-- +goose Up
-- A change of one stream among many is found without reading them all.
CREATE INDEX stream_generation ON stream (tenant, generation);
