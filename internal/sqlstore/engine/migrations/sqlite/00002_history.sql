-- +goose Up
-- What tells a database from an older copy of itself: see docs/restore.md.
create table history (
	id integer primary key check (id = 1),
	installation text not null,
	epoch integer not null,
	begun integer not null,
	seen integer not null
) strict;
insert into history (id, installation, epoch, begun, seen) values (1, lower(hex(randomblob(16))), 0, 0, 0);
