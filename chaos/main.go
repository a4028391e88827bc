// Command chaos holds real servers to the rotation contract (docs/rotation.md)
// while things break: see docs/chaos.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/fastbind/fastbind/chaos/internal/node"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	debug.SetGCPercent(garbage)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, errBroken), errors.Is(err, errUnfound):
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(2)
	}
}

// garbage is how much memory may grow before it is collected, in percent: there
// is plenty of it, and few processors.
const garbage = 400

func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) error {
	if len(args) == 1 && args[0] == node.Argument {
		return node.Serve(ctx, in, out, errs)
	}
	var o options
	f := flag.NewFlagSet("chaos", flag.ContinueOnError)
	f.SetOutput(errs)
	f.Uint64Var(&o.seed, "seed", 1, "what decides who does what, and what breaks")
	f.Int64Var(&o.refreshes, "refreshes", 12_000, "refreshes in all, half of them on each engine")
	f.IntVar(&o.clients, "clients", 0, "honest clients; 0: as many as go with the number of refreshes")
	f.IntVar(&o.scenes, "scenes", 0, "thefts that are under way at once; 0: as many as go with the clients")
	f.StringVar(&o.engine, "engine", "both", "postgres, sqlite or both")
	f.BoolVar(&o.keep, "keep", false, "keep the files, such as the logs of the servers")
	faults := f.String("faults", "", "try the faults whose names contain this, or all")
	if err := f.Parse(args); err != nil {
		return err
	}
	switch *faults {
	case "":
		return o.run(ctx, out)
	case "all":
		*faults = ""
	}
	return o.faults(ctx, out, *faults)
}
