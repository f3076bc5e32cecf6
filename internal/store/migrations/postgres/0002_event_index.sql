-- +goose Up
-- What the events are looked for by, beside gate and user. Few events have a device; those that are not OK are the fewer. Of request ids
-- there is one for each event: in an index of texts each would cost more than twice what it costs in one of hashes.
CREATE INDEX events_device ON events (device_id, id) WHERE device_id IS NOT NULL;
CREATE INDEX events_reason ON events (reason, id) WHERE reason <> 'OK';
CREATE INDEX events_request ON events (hashtext(request_id), id);
