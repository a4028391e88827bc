package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	askTimeout = 2 * time.Second
	askAgain   = time.Second // for so long an answer holds
	maxAsking  = 64          // at the same time
	maxAnswers = 4096
	maxAnswer  = 64 << 10
)

var errAsking = errors.New("too many questions under way")

// An asker asks the issuer whether tokens count (RFC 7662), once for all who
// want to know it of one token at the same time. The zero value is ready.
type asker struct {
	mu      sync.Mutex
	answers map[string]*answer
	asking  int
}

// An answer is of no use before done is closed.
type answer struct {
	done chan struct{}
	at   time.Time
	Answer
	err error
}

// An Answer is what the issuer says about a token.
type Answer struct {
	Active bool
	Key    string // cnf.jkt: thumbprint of the key that it is bound to
}

// Introspect asks whether the token counts. An error says that nobody knows.
func (i *Issuer) Introspect(ctx context.Context, token string, now time.Time) (Answer, error) {
	a := &i.asker
	a.mu.Lock()
	if old := a.answers[token]; old != nil && (old.at.IsZero() || now.Sub(old.at) < askAgain) {
		a.mu.Unlock()
		select {
		case <-old.done:
			return old.Answer, old.err
		case <-ctx.Done():
			return Answer{}, context.Cause(ctx)
		}
	}
	if a.asking >= maxAsking {
		a.mu.Unlock()
		return Answer{}, errAsking
	}
	if len(a.answers) >= maxAnswers || a.answers == nil {
		a.answers = map[string]*answer{}
	}
	mine := &answer{done: make(chan struct{})}
	a.answers[token] = mine
	a.asking++
	a.mu.Unlock()

	// Others wait for it too: it does not end with this request.
	mine.Answer, mine.err = i.ask(context.WithoutCancel(ctx), token)

	a.mu.Lock()
	mine.at = i.Now()
	a.asking--
	if mine.err != nil && a.answers[token] == mine {
		delete(a.answers, token)
	}
	a.mu.Unlock()
	close(mine.done)
	return mine.Answer, mine.err
}

// ask asks once.
func (i *Issuer) ask(ctx context.Context, token string) (Answer, error) {
	e := i.endpoints.Load()
	if e == nil || e.introspection == "" {
		return Answer{}, errors.New("the issuer has no introspection endpoint")
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.introspection, strings.NewReader(form.Encode()))
	if err != nil {
		return Answer{}, err
	}
	i.authenticate(r)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	body, _, err := i.do(r, maxAnswer)
	if err != nil {
		return Answer{}, fmt.Errorf("introspect: %w", err)
	}
	// RFC 7662, section 2.2: active is required.
	var v struct {
		Active       *bool `json:"active"`
		Confirmation struct {
			Key string `json:"jkt"`
		} `json:"cnf"`
	}
	if err := json.Unmarshal(body, &v); err != nil || v.Active == nil {
		return Answer{}, errors.New("introspect: not an answer")
	}
	return Answer{*v.Active, v.Confirmation.Key}, nil
}
