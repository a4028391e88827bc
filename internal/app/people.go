package app

import (
	"context"
	"errors"
	"maps"

	"github.com/fastbind/fastbind/internal/account"
)

// people answers what endpoints ask about a person.
type people struct{ store account.Store }

// Claims returns the standard claims of a person but for sub; nil: unknown.
func (p people) Claims(ctx context.Context, subject string) (map[string]any, error) {
	a, err := p.store.BySubject(ctx, subject)
	if errors.Is(err, account.ErrNone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := make(map[string]any, len(a.Claims)+1)
	out["preferred_username"] = a.Display
	maps.Copy(out, a.Claims)
	return out, nil
}

// Username returns the name that a person signs in with; empty: unknown.
func (p people) Username(ctx context.Context, subject string) (string, error) {
	a, err := p.store.BySubject(ctx, subject)
	if errors.Is(err, account.ErrNone) {
		return "", nil
	}
	return a.Display, err
}
