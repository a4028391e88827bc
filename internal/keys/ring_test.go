package keys_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/jose"
	"github.com/fastbind/fastbind/internal/keys"
	"github.com/fastbind/fastbind/internal/keys/keystest"
	"github.com/fastbind/fastbind/internal/opaque"
	"github.com/fastbind/fastbind/internal/policy"
)

const day = 24 * time.Hour

func TestMemoryKeepsTheContract(t *testing.T) {
	t.Parallel()
	keystest.Run(t, func(*testing.T) keys.Store { return new(keystest.Memory) })
}

func newRing(store keys.Store, secrets opaque.Secrets) *keys.Ring {
	return &keys.Ring{Store: store, Seal: secrets.Keys(keys.SealPurpose)}
}

func startRing(t *testing.T, store keys.Store, secrets opaque.Secrets) *keys.Ring {
	t.Helper()
	r := newRing(store, secrets)
	if err := r.Start(t.Context()); err != nil {
		t.Fatalf("start: %v", err)
	}
	return r
}

func sign(t *testing.T, r *keys.Ring, alg jose.Algorithm) string {
	t.Helper()
	s, err := r.Signer(t.Context(), alg)
	if err != nil {
		t.Fatalf("signer for %s: %v", alg, err)
	}
	token, err := s.Sign("JWT", []byte("{}"))
	if err != nil {
		t.Fatalf("sign with %s: %v", alg, err)
	}
	return token
}

func verify(set jose.KeySet, token string) error {
	m, err := jose.Parse(token)
	if err != nil {
		return err
	}
	for _, k := range set.Find(m.Header().KeyID, m.Header().Algorithm) {
		if _, err := m.Verify(k); err == nil {
			return nil
		}
	}
	return jose.ErrSignature
}

func kid(t *testing.T, r *keys.Ring, alg jose.Algorithm) string {
	t.Helper()
	s, err := r.Signer(t.Context(), alg)
	if err != nil {
		t.Fatal(err)
	}
	return s.Key().ID
}

// states returns how many keys an algorithm has in each state.
func states(t *testing.T, store keys.Store, alg jose.Algorithm) map[keys.State]int {
	t.Helper()
	set, err := store.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := make(map[keys.State]int)
	for _, k := range set.Keys {
		if k.Algorithm == string(alg) {
			n[k.State]++
		}
	}
	return n
}

func TestStart(t *testing.T) {
	t.Parallel()
	store, secrets := new(keystest.Memory), opaque.NewSecrets()
	r := startRing(t, store, secrets)
	if n := states(t, store, jose.RS256); len(n) > 0 {
		t.Errorf("start made RS256 keys %v, which takes long", n)
	}
	if n := len(r.KeySet().Keys()); n != 2 {
		t.Errorf("%d keys after start, want 2", n)
	}
	for _, alg := range []jose.Algorithm{jose.ES256, jose.EdDSA, jose.Ed25519, jose.RS256} {
		token := sign(t, r, alg)
		if err := verify(r.KeySet(), token); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		m, err := jose.Parse(token)
		if err != nil || m.Header().Algorithm != alg {
			t.Errorf("header says %q, want %s; error %v", m.Header().Algorithm, alg, err)
		}
	}
	// A second node, and the next start, find the same keys.
	other := startRing(t, store, secrets)
	for _, alg := range []jose.Algorithm{jose.ES256, jose.EdDSA, jose.RS256} {
		if kid(t, r, alg) != kid(t, other, alg) {
			t.Errorf("%s: two nodes sign with different keys", alg)
		}
		if err := verify(other.KeySet(), sign(t, r, alg)); err != nil {
			t.Errorf("%s: the other node: %v", alg, err)
		}
	}
	if _, err := r.Signer(t.Context(), "HS256"); !errors.Is(err, jose.ErrUnsupported) {
		t.Errorf("signer for HS256: %v", err)
	}
	if err := r.Rotate(t.Context(), "none"); !errors.Is(err, jose.ErrUnsupported) {
		t.Errorf("rotate none: %v", err)
	}
}

func TestStartTogether(t *testing.T) {
	t.Parallel()
	store, secrets := new(keystest.Memory), opaque.NewSecrets()
	rings := make([]*keys.Ring, 8)
	var wg sync.WaitGroup
	for i := range rings {
		rings[i] = newRing(store, secrets)
		wg.Go(func() {
			if err := rings[i].Start(t.Context()); err != nil {
				t.Errorf("node %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	for i, r := range rings {
		if err := verify(rings[0].KeySet(), sign(t, r, jose.EdDSA)); err != nil {
			t.Errorf("node %d signs with its own key: %v", i, err)
		}
	}
	if n := states(t, store, jose.ES256); n[keys.Signing] != 1 || len(n) != 1 {
		t.Errorf("keys %v, want one that signs", n)
	}
}

func TestSignerOnDemandMakesOneKey(t *testing.T) {
	t.Parallel()
	store := new(keystest.Memory)
	r := startRing(t, store, opaque.NewSecrets())
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := r.Signer(t.Context(), jose.RS256); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := states(t, store, jose.RS256); n[keys.Signing] != 1 || len(n) != 1 {
		t.Errorf("keys %v, want one that signs", n)
	}
}

func TestConcurrentRotations(t *testing.T) {
	t.Parallel()
	algs := []jose.Algorithm{jose.ES256, jose.EdDSA}
	for name, rotate := range map[string]func(*keys.Ring, context.Context, ...jose.Algorithm) error{
		"Rotate": (*keys.Ring).Rotate, "RotateNow": (*keys.Ring).RotateNow,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, secrets := new(keystest.Memory), opaque.NewSecrets()
			rings := make([]*keys.Ring, 10)
			for i := range rings {
				rings[i] = startRing(t, store, secrets)
			}
			before := kid(t, rings[0], jose.ES256)
			var wg sync.WaitGroup
			for _, r := range rings {
				wg.Go(func() {
					if err := rotate(r, t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			for _, alg := range algs {
				n := states(t, store, alg)
				if n[keys.Signing] != 1 || n[keys.Published]+n[keys.Retired] != 1 {
					t.Errorf("%s: keys %v, want exactly one new key", alg, n)
				}
			}
			for i, r := range rings {
				if err := r.Reload(t.Context()); err != nil {
					t.Fatal(err)
				}
				if changed := kid(t, r, jose.ES256) != before; changed != (name == "RotateNow") {
					t.Errorf("node %d: signing key changed: %v", i, changed)
				}
			}
		})
	}
}

func TestRotateOneAlgorithm(t *testing.T) {
	t.Parallel()
	store := new(keystest.Memory)
	r := startRing(t, store, opaque.NewSecrets())
	if err := r.Rotate(t.Context(), jose.Ed25519); err != nil {
		t.Fatal(err)
	}
	if err := r.Rotate(t.Context(), jose.RS256); err != nil { // which has no key yet
		t.Fatal(err)
	}
	for alg, want := range map[jose.Algorithm]map[keys.State]int{
		jose.ES256: {keys.Signing: 1},
		jose.EdDSA: {keys.Signing: 1, keys.Published: 1},
		jose.RS256: {keys.Signing: 1},
	} {
		if got := states(t, store, alg); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: keys %v, want %v", alg, got, want)
		}
	}
	// What is published signs next, and no further key is made.
	was := kid(t, r, jose.EdDSA)
	if err := r.RotateNow(t.Context(), jose.EdDSA); err != nil {
		t.Fatal(err)
	}
	if got := states(t, store, jose.EdDSA); got[keys.Signing] != 1 || got[keys.Retired] != 1 || got[keys.Published] != 0 {
		t.Errorf("keys %v", got)
	}
	if kid(t, r, jose.EdDSA) == was {
		t.Error("the same key signs on")
	}
	if err := newRing(store, opaque.NewSecrets()).Rotate(t.Context()); err == nil {
		t.Error("rotation before start")
	}
}

// TestKeysStayTheSame: a key that is still there is the same object after a reload
// and a rotation, so that what is remembered of it stays good.
func TestKeysStayTheSame(t *testing.T) {
	t.Parallel()
	r := startRing(t, new(keystest.Memory), opaque.NewSecrets())
	was := r.KeySet().Keys()
	if len(was) == 0 {
		t.Fatal("no keys")
	}
	for name, change := range map[string]func() error{
		"reload": func() error { return r.Reload(t.Context()) },
		"rotate": func() error { return r.Rotate(t.Context()) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		for _, k := range was {
			if !slices.Contains(r.KeySet().Keys(), k) {
				t.Errorf("%s: %s is another object", name, k.ID)
			}
		}
	}
}

// TestN14Rotation runs two nodes for months. A consumer that caches the key set
// for an hour verifies everything, all the time, with fresh and with old tokens.
func TestN14Rotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, secrets := new(keystest.Memory), opaque.NewSecrets()
		ctx, cancel := context.WithCancel(t.Context())
		nodes := make([]*keys.Ring, 2)
		var wg sync.WaitGroup
		for i := range nodes {
			nodes[i] = startRing(t, store, secrets)
			nodes[i].Lifetimes.RotateEvery = 30 * day
			nodes[i].ReloadEvery = 10 * time.Minute // so that there are fewer steps
			wg.Go(func() {
				if err := nodes[i].Run(ctx); err != nil {
					t.Errorf("run: %v", err)
				}
			})
		}
		synctest.Wait()
		type issued struct {
			token string
			at    time.Time
		}
		var (
			old     []issued
			first   = sign(t, nodes[0], jose.EdDSA)
			cached  jose.KeySet
			fetched time.Time
			seen    = make(map[string]bool)
			checked int
		)
		begin := time.Now()
		for step := 0; time.Since(begin) < 130*day; step++ {
			if now := time.Now(); now.Sub(fetched) >= time.Hour {
				cached, fetched = nodes[step%2].KeySet(), now
			}
			for i, alg := range []jose.Algorithm{jose.EdDSA, jose.ES256} {
				if i == 1 && step%16 != 0 {
					continue // slower, and goes the same way
				}
				node := nodes[(step/2+i)%2]
				token := sign(t, node, alg)
				if err := verify(cached, token); err != nil {
					t.Fatalf("day %v: %s token of a node: %v", time.Since(begin)/day, alg, err)
				}
				seen[kid(t, node, alg)] = true
				checked++
				old = append(old, issued{token, time.Now()})
			}
			// Access tokens live for an hour.
			old = slices.DeleteFunc(old, func(i issued) bool { return time.Since(i.at) > time.Hour })
			if err := verify(cached, old[0].token); err != nil {
				t.Fatalf("day %v: token of %v ago: %v", time.Since(begin)/day, time.Since(old[0].at), err)
			}
			time.Sleep(47 * time.Minute)
		}
		if err := verify(nodes[0].KeySet(), first); err == nil {
			t.Error("a token of a removed key is still accepted")
		}
		if len(seen) < 2*4 {
			t.Errorf("%d keys in 130 days, want at least 4 for each of 2 algorithms", len(seen))
		}
		if n := len(nodes[0].KeySet().Keys()); n > 9 {
			t.Errorf("%d keys are left: nothing is removed", n)
		}
		if n := states(t, store, jose.RS256); n[keys.Signing] != 1 {
			t.Errorf("RS256 keys %v: Run makes one", n)
		}
		t.Logf("%d tokens, %d keys", checked, len(seen))
		cancel()
		wg.Wait()
	})
}

// TestLifeCycle checks each step of a key at its boundary.
func TestLifeCycle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := new(keystest.Memory)
		r := startRing(t, store, opaque.NewSecrets())
		r.ReloadEvery = 5 * time.Minute
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		go r.Run(ctx)
		synctest.Wait()
		begin := time.Now()
		first, firstToken := kid(t, r, jose.ES256), sign(t, r, jose.ES256)
		at := func(d time.Duration) {
			time.Sleep(time.Until(begin.Add(d)))
			synctest.Wait()
		}
		want := func(published, signing, retired int) {
			t.Helper()
			got := states(t, store, jose.ES256)
			if got[keys.Published] != published || got[keys.Signing] != signing || got[keys.Retired] != retired {
				t.Errorf("after %v: keys %v, want %d published, %d signing, %d retired", time.Since(begin), got, published, signing, retired)
			}
		}
		const slack = 15 * time.Minute
		want(0, 1, 0)
		at(89*day - slack)
		want(0, 1, 0)
		at(89*day + slack)
		want(1, 1, 0)
		if kid(t, r, jose.ES256) != first {
			t.Error("a published key signs at once")
		}
		at(90*day - slack)
		want(1, 1, 0)
		at(90*day + slack)
		want(0, 1, 1)
		if kid(t, r, jose.ES256) == first {
			t.Error("the old key signs on")
		}
		at(90*day + policy.MaxAccessLife + day - slack)
		want(0, 1, 1)
		if err := verify(r.KeySet(), firstToken); err != nil {
			t.Errorf("token of a retired key: %v", err)
		}
		at(90*day + policy.MaxAccessLife + day + slack)
		want(0, 1, 0)
		if err := verify(r.KeySet(), firstToken); err == nil {
			t.Error("token of a removed key is accepted")
		}
		var notes []string
		for _, e := range store.Events() {
			if alg, rest, _ := strings.Cut(e.Note, " "); alg == "ES256" {
				id, what, _ := strings.Cut(rest, " ")
				if id == first {
					what = "first " + what
				}
				notes = append(notes, what)
			}
		}
		if got, want := strings.Join(notes, ", "), "first signing, published, signing, first retired, first removed"; got != want {
			t.Errorf("events %q, want %q", got, want)
		}
	})
}

// TestStoreFails takes the store away for an hour. What is in memory goes on
// working, and everything heals.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := new(keystest.Memory)
		var log bytes.Buffer
		r := startRing(t, store, opaque.NewSecrets())
		r.Log = slog.New(slog.NewTextHandler(&log, nil))
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		go r.Run(ctx)
		synctest.Wait()
		token, before := sign(t, r, jose.ES256), r.KeySet().JSON()
		store.Fail(errors.New("the disk is full"), false)
		if err := r.Rotate(t.Context()); err == nil {
			t.Error("rotation while the store fails")
		}
		if err := r.Revoke(t.Context(), kid(t, r, jose.ES256)); err == nil {
			t.Error("revocation while the store fails")
		}
		if err := r.Reload(t.Context()); err == nil {
			t.Error("reload while the store fails")
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if err := verify(r.KeySet(), sign(t, r, jose.ES256)); err != nil {
			t.Errorf("while the store fails: %v", err)
		}
		if !bytes.Equal(r.KeySet().JSON(), before) {
			t.Error("the key set in memory has changed")
		}
		store.Fail(nil, false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := verify(r.KeySet(), token); err != nil {
			t.Errorf("after the fault: %v", err)
		}
		if err := r.Rotate(t.Context()); err != nil {
			t.Errorf("after the fault: %v", err)
		}
		if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
			t.Errorf("%d errors logged in an hour, want one:\n%s", n, log.String())
		}
		if !strings.Contains(log.String(), "level=INFO") {
			t.Error("the end of the fault is not logged")
		}
	})
}

// TestAnswersAreLost lets every write succeed without saying so. Whoever asked
// is told of a fault and asks again, which must do nothing twice.
func TestAnswersAreLost(t *testing.T) {
	t.Parallel()
	store, secrets, fault := new(keystest.Memory), opaque.NewSecrets(), errors.New("connection reset")
	store.Fail(fault, true)
	r := newRing(store, secrets)
	if err := r.Start(t.Context()); !errors.Is(err, fault) {
		t.Errorf("start: %v", err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Errorf("start again: %v", err)
	}
	if err := r.Rotate(t.Context(), jose.ES256); !errors.Is(err, fault) {
		t.Errorf("rotate: %v", err)
	}
	if err := r.Rotate(t.Context(), jose.ES256); err != nil {
		t.Errorf("rotate again: %v", err)
	}
	if n := states(t, store, jose.ES256); n[keys.Signing] != 1 || n[keys.Published] != 1 || len(n) != 2 {
		t.Errorf("keys %v, want one that signs and one published", n)
	}
	token, bad := sign(t, r, jose.ES256), kid(t, r, jose.ES256)
	if err := r.Revoke(t.Context(), bad); !errors.Is(err, fault) {
		t.Errorf("revoke: %v", err)
	}
	if err := r.Revoke(t.Context(), bad); !errors.Is(err, keys.ErrUnknown) {
		t.Errorf("revoke again: %v", err)
	}
	if err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := verify(r.KeySet(), token); err == nil {
		t.Error("a token of a revoked key is accepted")
	}
}

// TestBoundaries looks at each step one second before it is due and when it is.
func TestBoundaries(t *testing.T) {
	t.Parallel()
	store, secrets := new(keystest.Memory), opaque.NewSecrets()
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, step := range []struct {
		after                       time.Duration
		published, signing, retired int
	}{
		{0, 0, 1, 0},
		{49*time.Hour - 1, 0, 1, 0},
		{49 * time.Hour, 1, 1, 0},
		{50*time.Hour - 1, 1, 1, 0},
		{50 * time.Hour, 0, 1, 1},
		{53*time.Hour - 1, 0, 1, 1},
		{53 * time.Hour, 0, 1, 0},
		// A whole year without any node: the key that is due has to be
		// published for its time before it signs.
		{365 * day, 1, 1, 0},
		{365*day + time.Hour - 1, 1, 1, 0},
		{365*day + time.Hour, 0, 1, 1},
	} {
		r := newRing(store, secrets)
		r.Lifetimes = keys.Lifetimes{RotateEvery: 50 * time.Hour, PublishFor: time.Hour, RetireFor: 3 * time.Hour}
		r.Now = func() time.Time { return begin.Add(step.after) }
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, alg := range []jose.Algorithm{jose.ES256, jose.EdDSA} {
			got := states(t, store, alg)
			if got[keys.Published] != step.published || got[keys.Signing] != step.signing || got[keys.Retired] != step.retired {
				t.Errorf("%s after %v: keys %v, want %d published, %d signing, %d retired",
					alg, step.after, got, step.published, step.signing, step.retired)
			}
		}
	}
}

func TestWipedStoreKeepsMemory(t *testing.T) {
	t.Parallel()
	secrets := opaque.NewSecrets()
	store := &switching{Store: new(keystest.Memory)}
	r := startRing(t, store, secrets)
	token := sign(t, r, jose.EdDSA)
	store.Store = new(keystest.Memory)
	if err := r.Reload(t.Context()); err == nil {
		t.Error("an empty store is taken into memory")
	}
	if err := r.Rotate(t.Context()); err == nil {
		t.Error("an empty store is begun anew")
	}
	if err := verify(r.KeySet(), token); err != nil {
		t.Error(err)
	}
	// Another set at the same version, as after a restore, is noticed.
	startRing(t, store.Store, secrets)
	if err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := verify(r.KeySet(), token); err == nil {
		t.Error("a key that is not in the store any more is still accepted")
	}
}

type switching struct{ keys.Store }

func TestRevoke(t *testing.T) {
	t.Parallel()
	store, secrets := new(keystest.Memory), opaque.NewSecrets()
	r := startRing(t, store, secrets)
	token, bad := sign(t, r, jose.ES256), kid(t, r, jose.ES256)
	if err := r.Revoke(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	if err := verify(r.KeySet(), token); err == nil {
		t.Error("a token of a revoked key is accepted")
	}
	if err := verify(r.KeySet(), sign(t, r, jose.ES256)); err != nil {
		t.Errorf("the key that came in its place: %v", err)
	}
	last := store.Events()[len(store.Events())-1]
	if last.Kind != audit.KeyRevokedKind || last.Reason != audit.KeyRevoked || !strings.Contains(last.Note, bad) {
		t.Errorf("last event %+v", last)
	}
	for _, kid := range []string{bad, "", "unknown"} {
		if err := r.Revoke(t.Context(), kid); !errors.Is(err, keys.ErrUnknown) {
			t.Errorf("revoke %q: %v", kid, err)
		}
	}
	// The published key takes the place of the signing one.
	if err := r.Rotate(t.Context(), jose.EdDSA); err != nil {
		t.Fatal(err)
	}
	if err := r.Revoke(t.Context(), kid(t, r, jose.EdDSA)); err != nil {
		t.Fatal(err)
	}
	if got := states(t, store, jose.EdDSA); got[keys.Signing] != 1 || len(got) != 1 {
		t.Errorf("keys %v, want the published one to sign", got)
	}
	// A published key can be revoked as well, and leaves the others alone.
	if err := r.Rotate(t.Context(), jose.EdDSA); err != nil {
		t.Fatal(err)
	}
	signing := kid(t, r, jose.EdDSA)
	set, err := store.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(set.Keys, func(k keys.Record) bool { return k.State == keys.Published })
	if err := r.Revoke(t.Context(), set.Keys[i].ID); err != nil {
		t.Fatal(err)
	}
	if kid(t, r, jose.EdDSA) != signing {
		t.Error("the signing key has changed")
	}
}

func TestMasterSecrets(t *testing.T) {
	t.Parallel()
	store := new(keystest.Memory)
	first, second := opaque.NewSecrets(), opaque.NewSecrets()
	r := startRing(t, store, first)
	token, signing := sign(t, r, jose.ES256), kid(t, r, jose.ES256)
	before, err := store.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	wrong := newRing(store, second)
	err = wrong.Start(t.Context())
	if !errors.Is(err, keys.ErrSealed) || !strings.Contains(fmt.Sprint(err), "signing key ") || !strings.Contains(fmt.Sprint(err), "put the secret") {
		t.Errorf("start with another master secret: %v", err)
	}
	if _, err := wrong.Signer(t.Context(), jose.ES256); !errors.Is(err, keys.ErrSealed) {
		t.Errorf("signer with another master secret: %v", err)
	}
	if n := len(wrong.KeySet().Keys()); n > 0 {
		t.Errorf("%d keys in memory", n)
	}
	after, err := store.Keys(t.Context())
	if err != nil || after.Version != before.Version {
		t.Errorf("the store was changed to version %d, error %v", after.Version, err)
	}

	both, err := opaque.ParseSecrets(second.Reveal() + first.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	both2 := startRing(t, store, both)
	if kid(t, both2, jose.ES256) != signing {
		t.Error("a new master secret has changed the signing key")
	}
	// From now on the first secret is not needed any more.
	alone := startRing(t, store, second)
	if err := verify(alone.KeySet(), token); err != nil {
		t.Errorf("with the new master secret alone: %v", err)
	}
	if kid(t, alone, jose.ES256) != signing {
		t.Error("sealing again has changed the signing key")
	}

	// With all secrets lost the keys can be given up, one by one.
	lost := newRing(store, opaque.NewSecrets())
	for range 2 {
		set, err := store.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(set.Keys, func(k keys.Record) bool { return !lost.Seal.Newest(k.Sealed) })
		if err := lost.Revoke(t.Context(), set.Keys[i].ID); err != nil && !errors.Is(err, keys.ErrSealed) {
			t.Fatal(err)
		}
	}
	if err := lost.Start(t.Context()); err != nil {
		t.Errorf("after giving up every key: %v", err)
	}
}

// TestForeignKeyInStore writes into the store without knowing a master secret.
func TestForeignKeyInStore(t *testing.T) {
	t.Parallel()
	secrets := opaque.NewSecrets()
	thief, err := jose.Generate("", jose.ES256)
	if err != nil {
		t.Fatal(err)
	}
	der, err := thief.PKCS8()
	if err != nil {
		t.Fatal(err)
	}
	token, err := thief.Sign("JWT", []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(set *keys.Set){
		"Public":      func(set *keys.Set) { set.Keys[0].Public = thief.Key().JSON() },
		"PublicAndID": func(set *keys.Set) { set.Keys[0].Public, set.Keys[0].ID = thief.Key().JSON(), thief.Key().ID },
		"Added": func(set *keys.Set) {
			k := set.Keys[0]
			k.ID, k.Public, k.State = thief.Key().ID, thief.Key().JSON(), keys.Retired
			set.Keys = append(set.Keys, k)
		},
		"Unsealed":  func(set *keys.Set) { set.Keys[0].Sealed = der },
		"Exchanged": func(set *keys.Set) { set.Keys[0].Sealed = set.Keys[1].Sealed },
		"OwnSeal": func(set *keys.Set) {
			seal := opaque.NewSecrets().Keys(keys.SealPurpose)
			k := &set.Keys[0]
			k.ID, k.Public = thief.Key().ID, thief.Key().JSON()
			k.Sealed = seal.Seal(der, []byte(k.ID+"\x00"+k.Algorithm))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := new(keystest.Memory)
			r := startRing(t, store, secrets)
			set, err := store.Keys(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			change(&set)
			if ok, err := store.Swap(t.Context(), set); !ok || err != nil {
				t.Fatal(ok, err)
			}
			if err := r.Reload(t.Context()); err == nil {
				t.Error("it is taken into memory")
			}
			if err := newRing(store, secrets).Start(t.Context()); err == nil {
				t.Error("a node starts with it")
			}
			if err := verify(r.KeySet(), token); err == nil {
				t.Error("a token of a foreign key is accepted")
			}
			if err := verify(r.KeySet(), sign(t, r, jose.ES256)); err != nil {
				t.Errorf("the own keys in memory: %v", err)
			}
		})
	}
}

func TestStoreHoldsNoPrivateKey(t *testing.T) {
	t.Parallel()
	store := new(keystest.Memory)
	r := startRing(t, store, opaque.NewSecrets())
	set, err := store.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range []jose.Algorithm{jose.ES256, jose.EdDSA} {
		s, err := r.Signer(t.Context(), alg)
		if err != nil {
			t.Fatal(err)
		}
		der, err := s.PKCS8()
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range set.Keys {
			for _, field := range [][]byte{k.Sealed, k.Public} {
				for i := 0; i+8 <= len(der); i++ {
					if part := der[i : i+8]; i > 40 && bytes.Contains(field, part) {
						t.Errorf("%s holds a part of the private key of %s", k.ID, alg)
					}
				}
			}
		}
	}
}

// TestUseDuringRotation reads while everything changes; the race detector
// watches.
func TestUseDuringRotation(t *testing.T) {
	t.Parallel()
	r := startRing(t, new(keystest.Memory), opaque.NewSecrets())
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !done.Load() {
				token := sign(t, r, jose.EdDSA) // before the set is read: it may be of a newer key
				if err := verify(r.KeySet(), token); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 20 {
		if err := r.RotateNow(t.Context(), jose.EdDSA); err != nil {
			t.Error(err)
		}
	}
	done.Store(true)
	wg.Wait()
}
