package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/pelletier/go-toml/v2"

	"github.com/fastbind/fastbind/internal/app"
	"github.com/fastbind/fastbind/internal/config"
)

// config returns the effective configuration.
func (c *console) config() (app.Config, error) {
	cfg, err := config.Load(config.Source{
		File: c.options.Config, Environ: c.environ, Data: c.options.Data, DatabaseURL: c.options.DatabaseURL,
	})
	if errors.Is(err, config.ErrPasswordShown) {
		return cfg, usageError{err.Error()}
	}
	return cfg, err
}

type configs struct {
	Check configCheck `cmd:"" help:"Print the effective configuration without secrets, and say what is wrong with it."`
}

type configCheck struct{}

// Run prints what is in force, also if it is wrong.
func (configCheck) Run(c *console) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	shown, master := config.Effective(cfg)
	all := config.Values(shown)
	all["master_key_from"] = master
	err = c.print(all, func(w io.Writer) error {
		if _, err := fmt.Fprintf(w, "# The master secrets come from the %s.\n", master); err != nil {
			return err
		}
		return toml.NewEncoder(w).Encode(shown)
	})
	if err != nil {
		return err
	}
	return cfg.Check()
}
