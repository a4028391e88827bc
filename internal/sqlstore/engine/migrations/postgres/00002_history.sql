-- +goose Up
-- What tells a database from an older copy of itself: see docs/restore.md.
create table history (
	id bigint primary key check (id = 1),
	installation text not null,
	epoch bigint not null,
	begun bigint not null,
	seen bigint not null
);
insert into history (id, installation, epoch, begun, seen) values (1, replace(gen_random_uuid()::text, '-', ''), 0, 0, 0);
