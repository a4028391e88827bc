-- +goose Up
-- What the revocation of a key takes with it.
create index family_key on family (key) where key <> '' and ended = 0;
create index code_key on code (key) where key <> '' and redeemed = 0;
