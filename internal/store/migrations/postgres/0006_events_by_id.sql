-- +goose NO TRANSACTION
-- +goose Up
-- When events occurred is known by slices of them (event_span), and about where those of a batch stand by an id below which none of them is: a
-- B-tree over the time cost more than any other that was left. NULL = not known. Each statement may be given again, should the migration be cut short.

-- A column needs the table for a moment. Behind a long read (pg_dump) it would wait with all gates behind it, so it gives way and tries again.
-- +goose StatementBegin
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '200', true);
    FOR attempt IN 1..600 LOOP
        BEGIN
            ALTER TABLE event_batch ADD COLUMN IF NOT EXISTS first_id BIGINT;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(1);
        END;
    END LOOP;
    RAISE EXCEPTION 'event_batch is read by somebody for ten minutes already (a dump?): migrate again when that is over';
END $$;
-- +goose StatementEnd
DROP INDEX CONCURRENTLY IF EXISTS events_occurred;
