-- +goose Up
create table client (
	id text primary key,
	version bigint not null,
	meta text not null,
	secrets bytea not null,
	created bigint not null,
	disabled bigint not null
);

create table account (
	subject text primary key,
	version bigint not null,
	username text not null unique,
	display text not null,
	password text not null,
	claims text not null,
	created bigint not null,
	disabled bigint not null
);

create table session (
	id text primary key,
	subject text not null,
	acr text not null,
	amr text not null,
	remember boolean not null,
	begun bigint not null,
	absolute_end bigint not null,
	network text not null,
	agent text not null,
	reason text not null,
	handle bytea not null,
	version bigint not null,
	auth_time bigint not null,
	last_seen bigint not null,
	idle_end bigint not null,
	ended bigint not null,
	sweep_at bigint not null
) with (fillfactor = 80);
create unique index session_handle on session (handle);
create index session_subject on session (subject) where ended = 0;
create index session_sweep on session (sweep_at) where ended = 0;
create index session_ended on session (ended) where ended > 0;

-- What never changes comes first and what changes together stands together:
-- the log then holds only the part of a row that changed. No index holds a
-- column that a rotation writes.
create table family (
	id bytea primary key,
	client text not null,
	subject text not null,
	session text not null,
	offline boolean not null,
	scope text not null,
	audience text not null,
	claims text not null,
	nonce text not null,
	acr text not null,
	amr text not null,
	auth_time bigint not null,
	key text not null,
	begun bigint not null,
	absolute_end bigint not null,
	network text not null,
	agent text not null,
	reason text not null,
	version bigint not null,
	generation bigint not null,
	confirmed bigint not null,
	idle_end bigint not null,
	rotated bigint not null,
	attempt bytea,
	replays bigint not null,
	retries bigint not null,
	shadows bigint not null,
	shadowed_in bigint not null,
	alarms bigint not null,
	ended bigint not null,
	sweep_at bigint not null
) with (fillfactor = 70);
create index family_session on family (session);
create index family_subject on family (subject);
create index family_client on family (client) where ended = 0;
create index family_sweep on family (sweep_at) where ended = 0;
create index family_ended on family (ended) where ended > 0;

create table code (
	digest bytea primary key,
	redirect_uri text not null,
	challenge text not null,
	issued bigint not null,
	expires bigint not null,
	family bytea not null,
	client text not null,
	subject text not null,
	session text not null,
	offline boolean not null,
	scope text not null,
	audience text not null,
	claims text not null,
	nonce text not null,
	acr text not null,
	amr text not null,
	auth_time bigint not null,
	key text not null,
	begun bigint not null,
	absolute_end bigint not null,
	redeemed bigint not null
);
create index code_expires on code (expires);

create table pushed (
	digest bytea primary key,
	client text not null,
	query text not null,
	expires bigint not null,
	used bigint not null
);
create index pushed_pending on pushed (client, expires) where used = 0;
create index pushed_expires on pushed (expires);

create table consent (
	subject text not null,
	client text not null,
	scope text not null,
	given bigint not null,
	primary key (subject, client)
);

create table key_set (
	id bigint primary key check (id = 1),
	version bigint not null
);
create table signing_key (
	id text primary key,
	position bigint not null,
	algorithm text not null,
	public bytea not null,
	sealed bytea not null,
	state text not null,
	created bigint not null,
	since bigint not null
);

create table rate (
	key bytea primary key,
	free_at bigint not null
);
create table once (
	key bytea primary key,
	until bigint not null
);
create index once_until on once (until);

create table feed_counter (
	id bigint primary key check (id = 1),
	number bigint not null
);
insert into feed_counter (id, number) values (1, 0);
create table feed (
	number bigint primary key,
	kind text not null,
	value text not null,
	before bigint not null,
	reason text not null,
	at bigint not null,
	until bigint not null
);
create index feed_value on feed (kind, value);
create index feed_until on feed (until);

create table audit_event (
	number bigint generated always as identity primary key,
	at bigint not null,
	kind text not null,
	reason text not null,
	subject text not null,
	session text not null,
	family text not null,
	client text not null,
	note text not null,
	parties text not null
);
create index audit_event_at on audit_event (at);
create index audit_event_subject on audit_event (subject, number) where subject <> '';
create index audit_event_session on audit_event (session, number) where session <> '';
create index audit_event_family on audit_event (family, number) where family <> '';
