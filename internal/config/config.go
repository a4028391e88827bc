// Package config reads the configuration of an installation: defaults, then the
// file, then the environment, then what the command line says.
//
// It owns names and their mistakes; whether the whole makes sense is for
// [app.Config.Check]. The invariant: a name that is not known is an error, and
// no secret comes from a file that also holds other things, or goes into an
// error.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"
	"github.com/pelletier/go-toml/v2"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/opaque"
)

// DefaultListen is the address to listen on if nothing says otherwise.
const DefaultListen = "127.0.0.1:8080"

// Variables of the environment that are not keys of the configuration file.
const (
	prefix     = "FASTBIND_"
	testPrefix = "FASTBIND_TEST_" // what tests tell each other
	configVar  = "FASTBIND_CONFIG"
	masterVar  = "FASTBIND_MASTER_KEY"
)

// A Source is where a configuration comes from. Empty fields say nothing.
type Source struct {
	File        string   // TOML; empty: the one that FASTBIND_CONFIG names, if it does
	Environ     []string // as os.Environ returns it
	Data        string   // from the command line
	DatabaseURL string   // from the command line
}

// ErrPasswordShown says that the command line holds a password, which every
// process of the machine can read there.
var ErrPasswordShown = errors.New("the address of the database holds a password, which every process can read on a command line: put the address into FASTBIND_DATABASE_URL")

// Load returns the effective configuration of s.
func Load(s Source) (app.Config, error) {
	vars := env.ToMap(s.Environ)
	cfg := app.Config{Listen: DefaultListen, LogLevel: "info", LogFormat: "text", DPoPNonce: "required", DPoPClockError: "10m"}
	file := s.File
	if file == "" {
		file = vars[configVar]
	}
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return cfg, fmt.Errorf("configuration: %w", err)
		}
		if err := decode(file, b, &cfg); err != nil {
			return cfg, err
		}
		if hasPassword(cfg.DatabaseURL) {
			return cfg, fmt.Errorf("%s: database_url holds a password: put the address into FASTBIND_DATABASE_URL, or the password into a file that passfile= names", file)
		}
	}
	if err := known(vars); err != nil {
		return cfg, err
	}
	if err := env.ParseWithOptions(&cfg, env.Options{Environment: vars}); err != nil {
		return cfg, fmt.Errorf("environment: %w", err)
	}
	if text := vars[masterVar]; text != "" {
		secrets, err := opaque.ParseSecrets(text)
		if err != nil {
			return cfg, fmt.Errorf("%s: %w", masterVar, err)
		}
		cfg.MasterKey = secrets
	}
	if s.Data != "" {
		cfg.Data = s.Data
	}
	if s.DatabaseURL != "" {
		if hasPassword(s.DatabaseURL) {
			return cfg, ErrPasswordShown
		}
		cfg.DatabaseURL = s.DatabaseURL
	}
	return cfg, check(cfg)
}

// check returns what is wrong with the values that only commands look at.
func check(cfg app.Config) error {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, cfg.LogLevel) {
		return fmt.Errorf("log_level %q is none of debug, info, warn and error", cfg.LogLevel)
	}
	if !slices.Contains([]string{"text", "json"}, cfg.LogFormat) {
		return fmt.Errorf("log_format %q is neither text nor json", cfg.LogFormat)
	}
	return nil
}

// decode reads a configuration file. What it does not know is an error that
// names the line and the nearest key there is.
func decode(name string, text []byte, cfg *app.Config) error {
	d := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	err := d.Decode(cfg)
	if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		var all []error
		for _, e := range strict.Errors {
			row, _ := e.Position()
			key := strings.Join(e.Key(), ".")
			all = append(all, fmt.Errorf("%s:%d: unknown key %q; the nearest is %q", name, row, key, nearest(key, tags("toml"))))
		}
		return errors.Join(all...)
	}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		row, column := e.Position()
		return fmt.Errorf("%s:%d:%d: %s", name, row, column, strings.TrimPrefix(e.Error(), "toml: "))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// known returns an error for variables that begin like ours and are not.
func known(vars map[string]string) error {
	names := append(tags("env"), configVar, masterVar)
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if strings.HasPrefix(name, prefix) && !strings.HasPrefix(name, testPrefix) && !slices.Contains(names, name) {
			return fmt.Errorf("unknown environment variable %s; the nearest is %s", name, nearest(name, names))
		}
	}
	return nil
}

// tags returns the names that the configuration has in one form.
func tags(form string) []string {
	var all []string
	for f := range reflect.TypeFor[app.Config]().Fields() {
		if name := f.Tag.Get(form); name != "" && name != "-" {
			all = append(all, name)
		}
	}
	return all
}

// nearest returns the name with the least edit distance to what was written.
func nearest(written string, names []string) string {
	best, least := "", -1
	for _, n := range names {
		if d := distance(strings.ToLower(written), strings.ToLower(n)); least < 0 || d < least {
			best, least = n, d
		}
	}
	return best
}

// distance is the Levenshtein distance of a and b in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func hasPassword(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return strings.Contains(address, "@")
	}
	_, has := u.User.Password()
	return has || u.Query().Has("password") || u.Query().Has("sslpassword")
}

// Redact returns the address of a database without passwords.
func Redact(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "(not an address)"
	}
	if _, has := u.User.Password(); has {
		u.User = url.UserPassword(u.User.Username(), "xxxxx")
	}
	q := u.Query()
	for _, name := range []string{"password", "sslpassword"} {
		if q.Has(name) {
			q.Set(name, "xxxxx")
			u.RawQuery = q.Encode()
		}
	}
	return u.String()
}

// Effective returns cfg without its secrets, and where the master secrets come
// from: "file" or "environment".
func Effective(cfg app.Config) (shown app.Config, master string) {
	shown, master = cfg, "file"
	shown.DatabaseURL = ""
	if cfg.DatabaseURL != "" || cfg.Data != "" {
		shown.DatabaseURL = Redact(cfg.Database())
	}
	if cfg.MasterKeyFile != "" || cfg.Data != "" {
		shown.MasterKeyFile = cfg.KeyFile()
	}
	if !cfg.MasterKey.IsZero() {
		shown.MasterKeyFile, master = "", "environment"
	}
	shown.MasterKey = opaque.Secrets{}
	return shown, master
}

// Values returns what cfg holds under the names of its file.
func Values(cfg app.Config) map[string]any {
	all := map[string]any{}
	for f, value := range reflect.ValueOf(cfg).Fields() {
		if name := f.Tag.Get("toml"); name != "" && name != "-" {
			all[name] = value.Interface()
		}
	}
	return all
}
