-- +goose Up
-- When the sender of an order took it back (receipts design §6.6); 0: it stands.
ALTER TABLE received_order ADD COLUMN withdrawn BIGINT NOT NULL DEFAULT 0;
