package watch_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/fastbind/fastbind/chaos/internal/watch"
	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/refresh"
)

const id = "0000000000000000000001"

// answer returns an answer with tokens of a generation.
func answer(family string, generation int, token string) []byte {
	claims := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"family":%q,"generation":%d}`, family, generation))
	return fmt.Appendf(nil, `{"access_token":"e30.%s.x","refresh_token":%q}`, claims, token)
}

// A scene is a family with its log.
type scene struct {
	*watch.Family
	log *watch.Log
}

// give answers a request with the token of a generation with another.
func (s scene) give(shown int64, generation int, token string) {
	s.Shown(shown).Answer(http.StatusOK, nil, answer(id, generation, token), watch.Holder)
}

// refuse refuses the token of generation 1.
func (s scene) refuse(p watch.Party) {
	s.Shown(1).Answer(http.StatusBadRequest, nil, []byte(`{"error":"invalid_grant"}`), p)
}

func (s scene) status(status int, body string) {
	s.Shown(1).Answer(status, http.Header{"Retry-After": {"1"}}, []byte(body), watch.Holder)
}

// TestAnswers gives answers of each kind and looks at what the watch makes of
// them.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		act  func(s scene)
		want string // the check that finds something; empty: none does
	}{
		"Rotation":  {func(s scene) { s.give(0, 1, "a"); s.give(1, 2, "b"); s.give(2, 3, "c") }, ""},
		"Repeated":  {func(s scene) { s.give(1, 2, "b"); s.give(1, 2, "b") }, ""},
		"Successor": {func(s scene) { s.give(1, 3, "c") }, "successor"},
		"Second":    {func(s scene) { s.give(1, 2, "b"); s.give(1, 2, "x") }, "second-successor"},
		"Ancestor":  {func(s scene) { s.give(1, 2, "b"); s.give(2, 3, "c"); s.give(1, 2, "b") }, "lost-generation"},
		"InFlight": {func(s scene) {
			late := s.Shown(1)
			s.give(1, 2, "b")
			s.give(2, 3, "c")
			late.Answer(http.StatusOK, nil, answer(id, 2, "b"), watch.Holder)
		}, ""},
		"BoundProcess": {func(s scene) { s.Bound = true; s.give(1, 2, "b"); s.give(2, 3, "c"); s.give(1, 3, "c") }, ""},
		"BoundStranger": {func(s scene) {
			s.Bound = true
			s.Shown(1).Answer(http.StatusOK, nil, answer(id, 2, "b"), watch.Stranger)
		}, "foreign-key"},
		"EndedLives":       {func(s scene) { s.refuse(watch.Holder); s.give(1, 2, "b") }, "ended-lives"},
		"StrangerIsNobody": {func(s scene) { s.refuse(watch.Stranger); s.give(1, 2, "b") }, ""},
		"Revoked":          {func(s scene) { s.End(); s.give(1, 2, "b") }, "ended-lives"},
		"OverlapKept":      {func(s scene) { s.Overlaps = true; s.give(1, 2, "b"); s.refuse(watch.Holder) }, "overlap"},
		"OverlapOver": {func(s scene) {
			s.Overlaps = true
			s.give(1, 2, "b")
			s.log.Now = func() time.Time { return time.Now().Add(29 * time.Second) }
			s.refuse(watch.Holder)
		}, ""},
		"OverlapUnderWrongClocks": {func(s scene) {
			s.Overlaps = true
			s.log.Skewed(15 * time.Second)
			s.give(1, 2, "b")
			s.refuse(watch.Holder)
		}, ""},
		"OtherFamily":    {func(s scene) { s.Shown(1).Answer(http.StatusOK, nil, answer("other", 2, "b"), watch.Holder) }, "answer"},
		"Nonsense":       {func(s scene) { s.status(http.StatusOK, "{}") }, "answer"},
		"ServerError":    {func(s scene) { s.status(http.StatusInternalServerError, "") }, "answer"},
		"InvalidRequest": {func(s scene) { s.status(http.StatusBadRequest, `{"error":"invalid_request"}`) }, "answer"},
		"Nonce":          {func(s scene) { s.status(http.StatusBadRequest, `{"error":"use_dpop_nonce"}`) }, ""},
		"Unavailable":    {func(s scene) { s.status(http.StatusServiceUnavailable, "") }, "no-fault"},
		"UnavailableInTrouble": {func(s scene) {
			defer s.log.Trouble()()
			s.status(http.StatusServiceUnavailable, "")
		}, ""},
		"UnavailableAfterTrouble": {func(s scene) {
			s.log.Trouble()()
			s.status(http.StatusServiceUnavailable, "")
		}, ""},
		"NoRetryAfter": {func(s scene) {
			defer s.log.Trouble()()
			s.Shown(1).Answer(http.StatusServiceUnavailable, nil, nil, watch.Holder)
		}, "retry-after"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &watch.Log{}
			tt.act(scene{l.NewFamily(id, "kind"), l})
			found(t, l, tt.want)
		})
	}
}

func found(t *testing.T, l *watch.Log, want string) {
	t.Helper()
	findings := l.Findings()
	switch {
	case want == "" && len(findings) > 0:
		t.Errorf("found %v", findings)
	case want != "" && (len(findings) == 0 || findings[0].Check != want):
		t.Errorf("found %v, want %s", findings, want)
	}
}

// TestStored reads rows of each kind and looks at what the watch makes of them.
func TestStored(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 0)
	row := func(change func(f *refresh.Family)) refresh.Family {
		f := refresh.Family{Grant: refresh.Grant{AbsoluteEnd: at.Add(time.Hour)}}
		f.State = refresh.State{Generation: 2, Confirmed: 1, IdleEnd: at.Add(time.Minute)}
		change(&f)
		return f
	}
	same := func(*refresh.Family) {}
	ended := func(f *refresh.Family) { f.Ended, f.Reason = at, audit.Logout }
	for name, tt := range map[string]struct {
		first, second func(f *refresh.Family)
		told          func(s scene)
		want          string
	}{
		"Same":             {same, same, nil, ""},
		"Newer":            {same, func(f *refresh.Family) { f.Generation, f.Confirmed = 3, 3 }, nil, ""},
		"Older":            {same, func(f *refresh.Family) { f.Generation = 1 }, nil, "lost-generation"},
		"OlderThanTold":    {same, same, func(s scene) { s.give(2, 3, "c") }, "lost-generation"},
		"ConfirmedOfNone":  {func(f *refresh.Family) { f.Confirmed = 3 }, same, nil, "confirmed"},
		"IdlePastAbsolute": {func(f *refresh.Family) { f.IdleEnd = at.Add(2 * time.Hour) }, same, nil, "idle-end"},
		"IdleMovesBack":    {same, func(f *refresh.Family) { f.IdleEnd = at }, nil, "idle-end"},
		"AbsoluteMoves":    {same, func(f *refresh.Family) { f.AbsoluteEnd = at.Add(2 * time.Hour) }, nil, "absolute-end"},
		"Ended":            {same, ended, nil, ""},
		"EndedLives":       {ended, same, nil, "ended-lives"},
		"ToldThatEnded":    {same, same, func(s scene) { s.End() }, "ended-lives"},
		"NoReason":         {func(f *refresh.Family) { f.Ended = at }, same, nil, "reason"},
		"FalseAlarm":       {func(f *refresh.Family) { f.Ended, f.Reason = at, audit.TokenTheft }, same, func(s scene) { s.Safe = true }, "false-alarm"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &watch.Log{}
			s := scene{l.NewFamily(id, "kind"), l}
			if tt.told != nil {
				tt.told(s)
			}
			s.Mark().Stored(row(tt.first))
			if len(s.log.Findings()) == 0 {
				s.Mark().Stored(row(tt.second))
			}
			found(t, s.log, tt.want)
		})
	}
}
