-- +goose Up
create table client (
	id text primary key,
	version integer not null,
	meta text not null,
	secrets blob not null,
	created integer not null,
	disabled integer not null
) strict;

create table account (
	subject text primary key,
	version integer not null,
	username text not null unique,
	display text not null,
	password text not null,
	claims text not null,
	created integer not null,
	disabled integer not null
) strict;

create table session (
	id text primary key,
	subject text not null,
	acr text not null,
	amr text not null,
	remember integer not null,
	begun integer not null,
	absolute_end integer not null,
	network text not null,
	agent text not null,
	reason text not null,
	handle blob not null,
	version integer not null,
	auth_time integer not null,
	last_seen integer not null,
	idle_end integer not null,
	ended integer not null,
	sweep_at integer not null
) strict;
create unique index session_handle on session (handle);
create index session_subject on session (subject) where ended = 0;
create index session_sweep on session (sweep_at) where ended = 0;
create index session_ended on session (ended) where ended > 0;

create table family (
	id blob primary key,
	client text not null,
	subject text not null,
	session text not null,
	offline integer not null,
	scope text not null,
	audience text not null,
	claims text not null,
	nonce text not null,
	acr text not null,
	amr text not null,
	auth_time integer not null,
	key text not null,
	begun integer not null,
	absolute_end integer not null,
	network text not null,
	agent text not null,
	reason text not null,
	version integer not null,
	generation integer not null,
	confirmed integer not null,
	idle_end integer not null,
	rotated integer not null,
	attempt blob,
	replays integer not null,
	retries integer not null,
	shadows integer not null,
	shadowed_in integer not null,
	alarms integer not null,
	ended integer not null,
	sweep_at integer not null
) strict;
create index family_session on family (session);
create index family_subject on family (subject);
create index family_client on family (client) where ended = 0;
create index family_sweep on family (sweep_at) where ended = 0;
create index family_ended on family (ended) where ended > 0;

create table code (
	digest blob primary key,
	redirect_uri text not null,
	challenge text not null,
	issued integer not null,
	expires integer not null,
	family blob not null,
	client text not null,
	subject text not null,
	session text not null,
	offline integer not null,
	scope text not null,
	audience text not null,
	claims text not null,
	nonce text not null,
	acr text not null,
	amr text not null,
	auth_time integer not null,
	key text not null,
	begun integer not null,
	absolute_end integer not null,
	redeemed integer not null
) strict;
create index code_expires on code (expires);

create table pushed (
	digest blob primary key,
	client text not null,
	query text not null,
	expires integer not null,
	used integer not null
) strict;
create index pushed_pending on pushed (client, expires) where used = 0;
create index pushed_expires on pushed (expires);

create table consent (
	subject text not null,
	client text not null,
	scope text not null,
	given integer not null,
	primary key (subject, client)
) strict;

create table key_set (
	id integer primary key check (id = 1),
	version integer not null
) strict;
create table signing_key (
	id text primary key,
	position integer not null,
	algorithm text not null,
	public blob not null,
	sealed blob not null,
	state text not null,
	created integer not null,
	since integer not null
) strict;

create table rate (
	key blob primary key,
	free_at integer not null
) strict;
create table once (
	key blob primary key,
	until integer not null
) strict;
create index once_until on once (until);

create table feed_counter (
	id integer primary key check (id = 1),
	number integer not null
) strict;
insert into feed_counter (id, number) values (1, 0);
create table feed (
	number integer primary key,
	kind text not null,
	value text not null,
	before integer not null,
	reason text not null,
	at integer not null,
	until integer not null
) strict;
create index feed_value on feed (kind, value);
create index feed_until on feed (until);

create table audit_event (
	number integer primary key autoincrement,
	at integer not null,
	kind text not null,
	reason text not null,
	subject text not null,
	session text not null,
	family text not null,
	client text not null,
	note text not null,
	parties text not null
) strict;
create index audit_event_at on audit_event (at);
create index audit_event_subject on audit_event (subject, number) where subject <> '';
create index audit_event_session on audit_event (session, number) where session <> '';
create index audit_event_family on audit_event (family, number) where family <> '';
