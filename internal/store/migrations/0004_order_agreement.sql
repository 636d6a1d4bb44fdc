-- +goose Up
-- The receipt settings as agreed when an order was sent: where the keys of its receipts are, also after its stream is gone.
ALTER TABLE sent_order ADD COLUMN agreed TEXT NOT NULL DEFAULT '';
