package config

import (
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"

	"github.com/fastbind/fastbind/internal/app"
)

// Nearby reports whether a database is on this machine: a file, a local socket
// or a loopback address.
func Nearby(database string) bool {
	u, err := url.Parse(database)
	if err != nil {
		return false
	}
	host := u.Hostname()
	if other := u.Query().Get("host"); other != "" {
		host = other
	}
	ip := net.ParseIP(host)
	return host == "" || host == "localhost" || strings.HasPrefix(host, "/") || ip != nil && ip.IsLoopback()
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
