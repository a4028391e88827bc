package listing

import (
	"context"
	"errors"

	"github.com/fastbind/fastbind/internal/account"
)

// Names remembers who the subjects of a list are.
type Names struct {
	Store account.Store

	known map[string]string
}

// Of returns the name of a subject; empty if there is no such person any more.
func (n *Names) Of(ctx context.Context, subject string) (string, error) {
	if name, ok := n.known[subject]; ok {
		return name, nil
	}
	a, err := n.Store.BySubject(ctx, subject)
	if err != nil && !errors.Is(err, account.ErrNone) {
		return "", err
	}
	if n.known == nil {
		n.known = map[string]string{}
	}
	n.known[subject] = a.Display
	return a.Display, nil
}
