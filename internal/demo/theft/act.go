package theft

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/demo/party"
	"github.com/fastbind/fastbind/internal/page"
	"github.com/fastbind/fastbind/oauth"
)

// A step is one thing that somebody does.
type step func(ctx context.Context, v *visitor) error

// steps are all steps by the name in their address.
func (s *Page) steps() map[string]step {
	of := func(p side, f func(context.Context, *visitor, side) error) step {
		return func(ctx context.Context, v *visitor) error { return f(ctx, v, p) }
	}
	return map[string]step{
		"renew": of(victim, s.renew), "call": of(victim, s.call),
		"thief-renew": of(thief, s.renew), "thief-call": of(thief, s.call),
		"steal": s.steal, "tabs": s.tabs, "lost": s.lost,
	}
}

// A story is a row of steps with a title.
type story struct {
	name, title, text string
	steps             []string
}

// thefts are the stories that end badly for the thief.
func thefts(name string) []story {
	return []story{
		{
			"victim-first", name + " renews first",
			name + "’s app renews twice, as apps do all day. Then the thief shows the copy, which is two generations old by now.",
			[]string{"steal", "renew", "renew", "thief-renew"},
		},
		{
			"thief-first", "The thief renews first",
			"The thief renews twice and reads " + name + "’s orders. Then " + name + "’s app renews with the token that it still has.",
			[]string{"steal", "thief-renew", "thief-renew", "thief-call", "renew"},
		},
	}
}

// heals are the stories in which nobody is logged out.
func heals(name string) []story {
	return []story{
		{
			"two-tabs", "Two tabs at once",
			"Two tabs of " + name + "’s show the same refresh token at the same moment.",
			[]string{"tabs"},
		},
		{
			"lost-answer", "A lost answer",
			"The answer to a renewal gets lost in a lift. " + name + "’s app asks again with the token that it still has.",
			[]string{"lost"},
		},
	}
}

// act does a step or plays a story, and shows the page again.
func (s *Page) act(w http.ResponseWriter, r *http.Request) {
	v, what := s.visitor(r), r.PathValue("what")
	if v == nil || !v.signedIn() {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	names := []string{what}
	for _, t := range append(thefts(""), heals("")...) {
		if t.name == what {
			names = t.steps
		}
	}
	all := s.steps()
	v.acting.Lock()
	defer v.acting.Unlock()
	for _, name := range names {
		do, known := all[name]
		if !known {
			s.problem(w, r, http.StatusNotFound, page.ProblemNotFound, "")
			return
		}
		if len(names) > 1 && v.over() {
			break // the story has come to its end already
		}
		if err := do(r.Context(), v); err != nil {
			v.say(entry{at: time.Now(), who: server, text: "This did not work: nobody answered. Nothing was lost.", tone: warn})
			s.fault(w, r, err)
			return
		}
		if err := s.learn(r.Context(), v); err != nil {
			s.fault(w, r, err)
			return
		}
	}
	http.Redirect(w, r, "/#now", http.StatusSeeOther)
}

// server is who speaks when it is neither of the parties.
const server = "server"

// present shows a refresh token to the token endpoint.
func (s *Page) present(ctx context.Context, p side, token party.Bearer) (party.Reply, error) {
	meta, err := s.metadata(ctx)
	if err != nil {
		return party.Reply{}, err
	}
	return s.hands[p].Token(ctx, meta.TokenEndpoint, url.Values{
		"grant_type": {oauth.GrantRefreshToken}, "client_id": {s.ClientID}, "refresh_token": {token.Reveal()},
	})
}

// renew has a party renew.
func (s *Page) renew(ctx context.Context, v *visitor, p side) error {
	h := v.held(p)
	if h.refresh.None() || h.refused != "" {
		return nil
	}
	shown := time.Now()
	a, err := s.present(ctx, p, h.refresh)
	if err != nil {
		return err
	}
	if !a.OK() {
		return s.refused(ctx, v, p, shown, a)
	}
	v.mu.Lock()
	newest := v.newest
	err = v.took(p, a)
	now := v.hold[p].claims.Generation
	e := entry{at: time.Now(), who: p.String(), answer: "200", tone: plain}
	e.text = fmt.Sprintf("%s renews: generation %d → %d.", v.called(p), h.claims.Generation, now)
	switch {
	case err == nil && now <= newest:
		e.text += " That is the same successor that the other one has: not 30 s have passed, so it could be a second tab."
		e.tone = warn
	case p == thief:
		e.text += " For now the thief is ahead."
		e.tone = warn
	}
	v.note(e)
	v.mu.Unlock()
	if err != nil {
		return err
	}
	return s.open(ctx, v, p)
}

// took puts into a party's hands what the token endpoint answered; v.mu is held,
// or v is nobody else's.
func (v *visitor) took(p side, a party.Reply) error {
	c, err := party.Decode(a.Access)
	if err != nil {
		return fmt.Errorf("access token: %w", err)
	}
	h := &v.hold[p]
	h.access, h.refresh, h.claims, h.expires = a.Access, a.Refresh, c, time.Unix(c.Expires, 0)
	v.newest = max(v.newest, c.Generation)
	v.version++
	return nil
}

// called returns what a party is called at the beginning of a sentence.
func (v *visitor) called(p side) string {
	if p == thief {
		return "The thief"
	}
	return v.name
}

func ordinal(n int64) string { return strconv.FormatInt(n, 10) }

// refused notes a refusal of the token endpoint, and watches what comes of it if
// it is one for good.
func (s *Page) refused(ctx context.Context, v *visitor, p side, shown time.Time, a party.Reply) error {
	now := time.Now()
	v.mu.Lock()
	e := entry{at: now, who: p.String(), answer: a.String(), tone: bad}
	e.text = fmt.Sprintf("%s shows generation %d and is refused.", v.called(p), v.hold[p].claims.Generation)
	final := a.Code == string(oauth.InvalidGrant)
	if !final {
		e.text, e.tone = v.called(p)+" is not answered now and may ask again: nothing was lost.", warn
	} else {
		v.hold[p].refused = a.String()
	}
	v.note(e)
	first := final && v.end == nil
	if first {
		v.end = &aftermath{shown: shown, by: p, noticed: now.Sub(shown)}
	}
	v.mu.Unlock()
	if first {
		return s.watch(ctx, v, a)
	}
	return nil
}

// call has a party read the orders.
func (s *Page) call(ctx context.Context, v *visitor, p side) error {
	h := v.held(p)
	if h.access.None() {
		return nil
	}
	status, code, err := s.hands[p].Call(ctx, s.URL+"/orders", h.access)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.hold[p].calls++
	e := entry{at: time.Now(), who: p.String(), answer: party.Reply{Status: status, Code: code}.String()}
	switch {
	case status == http.StatusOK && p == thief:
		e.text, e.tone = "The thief reads "+v.name+"’s orders.", warn
	case status == http.StatusOK:
		e.text = v.name + " reads the orders."
	case status == http.StatusUnauthorized && v.end == nil && !e.at.Before(h.expires):
		e.text, e.tone = v.called(p)+" calls the API with an access token that has run out: it is time to renew.", warn
	case status == http.StatusUnauthorized:
		e.text, e.tone = v.called(p)+" calls the API and is refused.", bad
	default:
		e.text, e.tone = "The API cannot tell now whether the token is good, and says so.", warn
	}
	v.note(e)
	return nil
}

// steal copies what the victim holds into the thief's hands.
func (s *Page) steal(ctx context.Context, v *visitor) error {
	if v.over() {
		return nil // there is nothing left to steal
	}
	v.mu.Lock()
	from, to := &v.hold[victim], &v.hold[thief]
	to.access, to.refresh, to.claims, to.expires = from.access, from.refresh, from.claims, from.expires
	v.note(entry{
		at: time.Now(), who: thief.String(), tone: warn,
		text: fmt.Sprintf("The thief copies %s’s tokens, generation %d. Nobody can see that yet.", v.name, to.claims.Generation),
	})
	v.mu.Unlock()
	return s.open(ctx, v, thief)
}

// tabs shows the same refresh token twice at the same moment, as two tabs do.
func (s *Page) tabs(ctx context.Context, v *visitor) error {
	h := v.held(victim)
	shown := time.Now()
	var answers [2]party.Reply
	var errs [2]error
	var work sync.WaitGroup
	for i := range answers {
		work.Go(func() { answers[i], errs[i] = s.present(ctx, victim, h.refresh) })
	}
	work.Wait()
	return s.compare(ctx, v, shown, answers, errs, "Two of "+v.name+"’s tabs renew at the same moment. ")
}

// lost shows a refresh token, forgets the answer, and shows it again.
func (s *Page) lost(ctx context.Context, v *visitor) error {
	h := v.held(victim)
	shown := time.Now()
	var answers [2]party.Reply
	var errs [2]error
	for i := range answers {
		answers[i], errs[i] = s.present(ctx, victim, h.refresh)
	}
	return s.compare(ctx, v, shown, answers, errs, "An answer gets lost, and "+v.name+"’s app asks again. ")
}

// compare notes whether two answers to the same token were the same successor.
func (s *Page) compare(ctx context.Context, v *visitor, shown time.Time, a [2]party.Reply, errs [2]error, text string) error {
	for i := range a {
		if errs[i] != nil {
			return errs[i]
		}
		if !a[i].OK() {
			return s.refused(ctx, v, victim, shown, a[i])
		}
	}
	v.mu.Lock()
	err := v.took(victim, a[1])
	e := entry{at: time.Now(), who: victim.String(), answer: "200, 200", tone: good}
	e.text = fmt.Sprintf("%sBoth get the same successor, generation %d. Nobody is alarmed, nobody is logged out.", text, v.hold[victim].claims.Generation)
	if a[0].Refresh.Reveal() != a[1].Refresh.Reveal() {
		e.text, e.tone = text+"The successors differ: this should not be.", bad
	}
	v.note(e)
	v.mu.Unlock()
	if err != nil {
		return err
	}
	return s.open(ctx, v, victim)
}

// learn notes what the server has recorded about the family meanwhile.
func (s *Page) learn(ctx context.Context, v *visitor) error {
	events, err := s.Events(ctx, v.family)
	if err != nil {
		return fmt.Errorf("events of the family: %w", err)
	}
	slices.Reverse(events)
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range events[min(len(v.events), len(events)):] {
		switch e.Kind {
		case audit.Theft:
			v.note(entry{at: e.Time, who: server, text: "Theft. The family and the session end, and everybody who verifies tokens is told.", answer: string(e.Reason), tone: bad})
		case audit.Replay, audit.ForeignKey:
			v.note(entry{at: e.Time, who: server, text: "An event is recorded: " + e.Note + ".", answer: string(e.Kind), tone: warn})
		case audit.FamilyEnded:
			v.note(entry{at: e.Time, who: server, text: "The family ends.", answer: string(e.Reason), tone: bad})
		default: // begun, renewed: said already
		}
	}
	v.events = events
	return nil
}
