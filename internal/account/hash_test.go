package account_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/account"
)

// TestVerifyKnownHashes: hashes that other implementations made.
func TestVerifyKnownHashes(t *testing.T) {
	t.Parallel()
	const phrase = "correct horse battery"
	for name, c := range map[string]struct{ password, hash string }{
		// Computed with the command of the reference implementation.
		"Argon2id": {"password", "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$ZVrRXqxlLcWfcXCnMyv0m4Rpvh/bnCi7"},
		"Bcrypt2b": {phrase, "$2b$06$abcdefghijklmnopqrstuu50eFBEC8vQwBnuFXMHE45jBnqvQ8xz."},
		"Bcrypt2y": {phrase, "$2y$06$abcdefghijklmnopqrstuu50eFBEC8vQwBnuFXMHE45jBnqvQ8xz."},
		"Scrypt":   {phrase, "$scrypt$ln=14,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$LPDRs+d7MJ+D4v778lUnSsMuTt3eMzZtYlcDVF6agWU"},
		"SHA256":   {phrase, "$pbkdf2-sha256$29000$c2FsdHNhbHRzYWx0c2FsdA$25NYaVsNObsfZXar49ZUDxNQwL5N2eVgqNw6/t0tZ1k"},
		"SHA512":   {phrase, "$pbkdf2-sha512$29000$c2FsdHNhbHRzYWx0c2FsdA$v7oW1CGtJxFQHr9zVocdhiyfxV7qBHFwko.fTfMDzhyFsMCAzCETgs2JOtOZL2/p2LJ3m.RCI5qtvn28Lcg1Kw"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &account.Hasher{}
			ok, upgrade, err := h.Verify(t.Context(), c.password, c.hash)
			if !ok || err != nil || !upgrade {
				t.Errorf("right password: %v, upgrade %v, %v", ok, upgrade, err)
			}
			ok, upgrade, err = h.Verify(t.Context(), c.password+"x", c.hash)
			if ok || upgrade || err != nil {
				t.Errorf("wrong password: %v, upgrade %v, %v", ok, upgrade, err)
			}
		})
	}
}

func TestHash(t *testing.T) {
	t.Parallel()
	h := &account.Hasher{}
	one, err := h.Hash(t.Context(), password)
	if err != nil {
		t.Fatal(err)
	}
	two, err := h.Hash(t.Context(), password)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(one, "$argon2id$v=19$m=19456,t=2,p=1$") || one == two {
		t.Errorf("hashes %q and %q, want Argon2id of 19 MiB with two passes, each with its own salt", one, two)
	}
	if ok, upgrade, err := h.Verify(t.Context(), password, one); !ok || upgrade || err != nil {
		t.Errorf("verify: %v, upgrade %v, %v", ok, upgrade, err)
	}
	dearer := &account.Hasher{Passes: 3}
	if ok, upgrade, err := dearer.Verify(t.Context(), password, one); !ok || !upgrade || err != nil {
		t.Errorf("verify with more passes wanted: %v, upgrade %v, %v, want an upgrade", ok, upgrade, err)
	}
}

// TestMemoryBomb: a hash that asks for too much is refused before it takes any
// of it.
func TestMemoryBomb(t *testing.T) {
	t.Parallel()
	h := cheap()
	if _, _, err := h.Verify(t.Context(), password, ""); err != nil {
		t.Fatal(err)
	}
	done := h.Done()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, hash := range []string{
		"$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHApl8ArZWb2GRPPc",
		"$argon2id$v=19$m=64,t=1000000,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHApl8ArZWb2GRPPc",
		"$argon2id$v=19$m=64,t=1,p=1,m=4194304$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHApl8ArZWb2GRPPc",
		"$argon2id$v=19$m=64,t=1,p=255$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHApl8ArZWb2GRPPc",
		"$argon2id$v=19$m=-1,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHApl8ArZWb2GRPPc",
		"$argon2id$v=19$m=0,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHApl8ArZWb2GRPPc",
		"$argon2id$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHApl8ArZWb2GRPPc",
		"$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHApl8ArZWb2GRPPc",
		"$scrypt$ln=20,r=64,p=1$c2FsdA$a2V5", "$scrypt$ln=63,r=8,p=1$c2FsdA$a2V5", "$scrypt$ln=4,r=8,p=1000$c2FsdA$a2V5",
		"$2b$31$abcdefghijklmnopqrstuu50eFBEC8vQwBnuFXMHE45jBnqvQ8xz.",
		"$pbkdf2-sha256$4000000000$c2FsdA$a2V5", "$plaintext$secret", "$1$salt$hash", "$6$salt$hash", "$y$j9T$salt$hash",
		"secret", "$", "$$$$", "$argon2id$", "$scrypt$", "$2b$", "$pbkdf2$", "{CRYPT}$1$a$b",
		"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$", "$argon2id$v=19$m=64,t=1,p=1$!$!", "$2b$10$short",
		"$pbkdf2-sha256$1000$c2FsdA$" + strings.Repeat("A", 1<<20),
	} {
		if ok, _, err := h.Verify(t.Context(), password, hash); ok || !errors.Is(err, account.ErrHash) {
			t.Errorf("%.60q: %v, %v, want ErrHash", hash, ok, err)
		} else if strings.Contains(err.Error(), "c2FsdA") || strings.Contains(err.Error(), password) {
			t.Errorf("the error tells too much: %v", err)
		}
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
		t.Errorf("%d MiB were allocated", grown>>20)
	}
	if h.Done() != done {
		t.Errorf("%d hashes were computed, want none", h.Done()-done)
	}
}

// TestN103HashingIsBounded: what cannot be checked in any useful time is refused
// at once, and who waits goes when their time is over.
func TestN103HashingIsBounded(t *testing.T) {
	t.Parallel()
	h := &account.Hasher{Limit: 1, MemoryKiB: 8 << 10, Passes: 1}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Hash(ended, password); !errors.Is(err, context.Canceled) {
		t.Errorf("hash in an ended context: %v", err)
	}
	done := h.Done()
	var hashed, busy, late, other atomic.Int64
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			<-start
			ctx := t.Context()
			if i%2 == 0 {
				short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
				defer cancel()
				ctx = short
			}
			_, _, err := h.Verify(ctx, password, "")
			switch {
			case err == nil:
				hashed.Add(1)
			case errors.Is(err, account.ErrBusy):
				busy.Add(1)
			case errors.Is(err, context.DeadlineExceeded):
				late.Add(1)
			default:
				other.Add(1)
				t.Error(err)
			}
		})
	}
	close(start)
	wg.Wait()
	if hashed.Load() == 0 || busy.Load() == 0 || hashed.Load() != h.Done()-done || hashed.Load()+busy.Load()+late.Load() != 300 {
		t.Errorf("hashed %d (counted %d), busy %d, late %d", hashed.Load(), h.Done()-done, busy.Load(), late.Load())
	}
	if _, _, err := h.Verify(t.Context(), password, ""); err != nil {
		t.Errorf("after the flood: %v", err)
	}
}
