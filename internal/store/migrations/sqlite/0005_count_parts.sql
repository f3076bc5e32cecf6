-- +goose Up
-- What a round of counting adds, put down to be written part by part (counts_write.go): the gates wait for whoever writes.
CREATE TABLE event_count_part (
    id   INTEGER PRIMARY KEY,
    body TEXT NOT NULL
);
