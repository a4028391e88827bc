package node

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/listen"
)

// A Setup is what a server process is told on the first line of its standard
// input.
type Setup struct {
	Issuer   string
	Data     string // folder of the master key
	Database string
	// Ahead is by how much its clock is ahead of the real time.
	Ahead time.Duration
}

// Serve is a server process: the server that ships, but for the clock, which is
// set by lines of standard input. It says on standard output where it listens
// and, for each line, that the clock is set. It ends with ctx, or when standard
// input does.
func Serve(ctx context.Context, in io.Reader, out, errs io.Writer) (err error) {
	lines := bufio.NewScanner(in)
	if !lines.Scan() {
		return errors.New("no setup on standard input")
	}
	var s Setup
	if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	var ahead atomic.Int64
	ahead.Store(int64(s.Ahead))
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: slog.LevelError}))
	a, err := app.Open(ctx, app.Config{
		Issuer: s.Issuer, Data: s.Data, DatabaseURL: s.Database,
		TrustedProxies: []string{"127.0.0.1"}, // the harness says from where a request comes
	}, log, app.Options{Now: now})
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	srv := &listen.Server{
		Sites: []listen.Site{{Listener: ln, Handler: a.Handler(), Drain: a.Drain}},
		Jobs:  []func(context.Context) error{a.Run},
		Log:   log,
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	return srv.Run(ctx, func() error {
		if _, err := fmt.Fprintln(out, ln.Addr()); err != nil {
			return err
		}
		go func() {
			defer stop()
			obey(lines, out, &ahead)
		}()
		return nil
	})
}

// obey sets the clock as it is told, until there are no more lines.
func obey(lines *bufio.Scanner, out io.Writer, ahead *atomic.Int64) {
	for lines.Scan() {
		n, err := strconv.ParseInt(strings.TrimSpace(lines.Text()), 10, 64)
		if err != nil {
			return
		}
		ahead.Store(n)
		if _, err := fmt.Fprintln(out, "set"); err != nil {
			return
		}
	}
}
