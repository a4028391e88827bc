// Command fastbind is an OAuth 2.1 and OpenID Connect server, and the commands
// to run one.
//
// It owns flags, the environment, the configuration file and exit codes: 0 for
// success, 1 for failure, 2 for a wrong command line. Results go to standard
// output; everything else goes to standard error.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"syscall"

	"github.com/alecthomas/kong"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], console{environ: os.Environ(), in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// A console is what a command sees of the world.
type console struct {
	environ  []string
	in       io.Reader
	out, err io.Writer
	options  options
}

// options are the flags that every command understands.
type options struct {
	Config      string `placeholder:"FILE" type:"path" help:"Configuration file (TOML)."`
	Data        string `placeholder:"DIR" type:"path" help:"Folder of the embedded database and the master key."`
	DatabaseURL string `name:"database-url" placeholder:"URL" help:"postgres://… or sqlite://…"`
	JSON        bool   `name:"json" help:"Print JSON."`
}

type commands struct {
	options

	Serve   serve   `cmd:"" help:"Run the server."`
	Migrate migrate `cmd:"" help:"Bring the schema of the database up to date."`
	Client  struct {
		Create clientCreate `cmd:"" help:"Register a client; its secret is printed once."`
		List   clientList   `cmd:"" help:"List all clients."`
		Show   clientShow   `cmd:"" help:"Show a client."`
		DPoP   clientDPoP   `cmd:"" name:"dpop" help:"Change what a client owes in proofs of possession."`
		Delete clientDelete `cmd:"" help:"End all that a client holds, and remove it."`
	} `cmd:"" help:"Registered clients."`
	User struct {
		Create   userCreate   `cmd:"" help:"Create a user; the password is asked for."`
		List     userList     `cmd:"" help:"List users."`
		Disable  userDisable  `cmd:"" help:"End all sessions of a user, who cannot sign in again."`
		Enable   userEnable   `cmd:"" help:"Let a disabled or locked-out user sign in again."`
		Delete   userDelete   `cmd:"" help:"End all sessions of a user, and remove the user."`
		Password userPassword `cmd:"" help:"Set the password of a user, and end all sessions."`
	} `cmd:"" help:"Users."`
	Session struct {
		List sessionList `cmd:"" help:"List live sessions."`
		Show sessionShow `cmd:"" help:"Show a session and what belongs to it."`
		End  sessionEnd  `cmd:"" help:"End sessions."`
	} `cmd:"" help:"Sessions."`
	Keys struct {
		List   keysList   `cmd:"" help:"List signing keys."`
		Rotate keysRotate `cmd:"" help:"Publish new signing keys; they sign once everybody knows them."`
		Revoke keysRevoke `cmd:"" help:"Remove a signing key, and end every token that it signed."`
	} `cmd:"" help:"Signing keys."`
	Consent struct {
		List     consentList     `cmd:"" help:"List what users have allowed clients."`
		Withdraw consentWithdraw `cmd:"" help:"Take a consent back, and end what the client holds by it."`
	} `cmd:"" help:"Consents."`
	Events  events  `cmd:"" help:"List security events: why did this end?"`
	Doctor  examine `cmd:"" help:"Look for what is wrong with this installation."`
	Backup  backup  `cmd:"" help:"Copy the embedded database into a new file, while a server runs."`
	Restore struct {
		Finish restoreFinish `cmd:"" help:"After a restore from a backup: end all that it holds, since what was revoked meanwhile is not known."`
	} `cmd:"" help:"Restore from a backup."`
	Fsck    check   `cmd:"" help:"Look for broken invariants in all that is stored."`
	Configs configs `cmd:"" name:"config" help:"The configuration."`
	Version version `cmd:"" help:"Print the version."`
}

// usageError is a mistake in the command line.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// failed is an error of which everything has been said.
var errFailed = errors.New("failed")

// run carries out one command line and returns the exit code.
func run(ctx context.Context, args []string, c console) int {
	var all commands
	said := false // help was printed
	parser, err := kong.New(&all,
		kong.Name("fastbind"),
		kong.Description("OAuth 2.1 and OpenID Connect server. A stolen token is useless, noticed, and gone everywhere within a second."),
		kong.Writers(c.out, c.err),
		kong.Exit(func(int) { said = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		fmt.Fprintf(c.err, "fastbind: %v\n", err)
		return exitFailed
	}
	line, err := parser.Parse(afterFlags(args))
	if said {
		return exitOK
	}
	if err == nil {
		c.options = all.options
		err = line.Run(&c)
	}
	if err == nil {
		return exitOK
	}
	if !errors.Is(err, errFailed) {
		fmt.Fprintf(c.err, "fastbind: %v\n", err)
	}
	if _, ok := errors.AsType[*kong.ParseError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

// keyID is the form of the identifier of a key: a SHA-256 thumbprint.
var keyID = regexp.MustCompile(`^-[0-9A-Za-z_-]{42}$`)

// afterFlags puts identifiers of keys that begin with a dash where they are not
// taken for flags. No flag has their length.
func afterFlags(args []string) []string {
	if slices.Contains(args, "--") { // who writes it says so already
		return args
	}
	var flags, ids []string
	for _, a := range args {
		if keyID.MatchString(a) {
			ids = append(ids, a)
		} else {
			flags = append(flags, a)
		}
	}
	if len(ids) == 0 {
		return args
	}
	return append(append(flags, "--"), ids...)
}
