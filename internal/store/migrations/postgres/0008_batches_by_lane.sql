-- +goose NO TRANSACTION
-- +goose Up
-- An index less for each batch to write: the purge finds old batches lane by lane.
DROP INDEX CONCURRENTLY IF EXISTS event_batch_recorded;
