package config_test

import (
	"testing"

	"github.com/fastbind/fastbind/internal/config"
)

func TestNearby(t *testing.T) {
	for database, want := range map[string]bool{
		"sqlite:///var/lib/fastbind.db":                 true,
		"":                                              true,
		"postgres://localhost/f":                        true,
		"postgres://127.0.0.1:5433/f":                   true,
		"postgres://[::1]/f":                            true,
		"postgres:///f?host=/run/postgresql":            true,
		"postgres://db.example/f":                       false,
		"postgres:///f?host=db.example":                 false,
		"postgres:///f?host=/run/postgresql,db.example": false,
		"postgres://localhost,db.example/f":             false,
		"postgres://%":                                  false,
	} {
		if got := config.Nearby(database); got != want {
			t.Errorf("%s: %v", database, got)
		}
	}
	t.Setenv("PGHOST", "db.example")
	if config.Nearby("postgres:///f") {
		t.Error("PGHOST names another machine")
	}
	if !config.Nearby("postgres://localhost/f") {
		t.Error("PGHOST is not asked")
	}
}
