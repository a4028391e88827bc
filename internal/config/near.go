package config

import (
	"io"
	"log/slog"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/fastbind/fastbind/internal/app"
)

// Nearby reports whether a database is on this machine: a file, or a server at a
// local socket or a loopback address, wherever the rest of its address comes from
// (PGHOST, a service file). Of several servers all have to be.
func Nearby(database string) bool {
	if !strings.HasPrefix(database, "postgres") {
		return true // a file
	}
	c, err := pgconn.ParseConfig(database)
	if err != nil {
		return false
	}
	near := local(c.Host)
	for _, f := range c.Fallbacks {
		near = near && local(f.Host)
	}
	return near
}

func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || ip != nil && ip.IsLoopback()
}

// Logger returns a logger that writes to w as the configuration says.
func Logger(w io.Writer, cfg app.Config) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
