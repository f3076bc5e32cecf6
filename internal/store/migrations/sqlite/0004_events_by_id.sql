-- +goose Up
-- When events occurred is known by slices of them (event_span), and where those of a batch stand by their first id: a B-tree over the time was
-- a page more for each commit to write. NULL = not known.
ALTER TABLE event_batch ADD COLUMN first_id BIGINT;
DROP INDEX events_occurred;
