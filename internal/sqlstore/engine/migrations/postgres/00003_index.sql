-- +goose Up
-- What a revocation takes with it, and what has been paid for.
create index code_pending on code (client, subject) where redeemed = 0;
create index rate_free_at on rate (free_at);
