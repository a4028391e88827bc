package account

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/pbkdf2"
	"github.com/go-crypt/crypt/algorithm/scrypt"
	"golang.org/x/sync/semaphore"
)

// Errors of a Hasher.
var (
	// ErrBusy says that more passwords wait to be checked than can be in any
	// useful time.
	ErrBusy = errors.New("too many passwords wait to be checked")
	// ErrHash says that a stored hash is of no kind that is accepted, or asks
	// for more memory or time than any honest one.
	ErrHash = errors.New("unusable password hash")
)

// A Hasher hashes and verifies passwords, a bounded number at a time. Set the
// fields before use; the zero value is ready. It is safe for concurrent use.
type Hasher struct {
	// Limit is how many hashes are computed at once; 0: one per processor.
	Limit int
	// MemoryKiB and Passes are the costs of new hashes (Argon2id with one
	// lane); 0: 19,456 and 2.
	MemoryKiB uint32
	Passes    int

	once    sync.Once
	sem     *semaphore.Weighted
	total   int64 // KiB that hashes may take together
	dummy   string
	waiting atomic.Int64
	done    atomic.Int64
}

// queued is how many may wait for each that is at work.
const queued = 64

// Done returns how many hashes have been computed.
func (h *Hasher) Done() int64 { return h.done.Load() }

// Hash returns the hash of a prepared password in PHC form.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	h.start()
	release, err := h.acquire(ctx, int64(h.memory()))
	if err != nil {
		return "", err
	}
	defer release()
	return h.hash(password)
}

// Verify reports whether a prepared password belongs to the hash, and, if it
// does, whether the hash should be computed anew because it is weaker than new
// ones. It accepts Argon2id, bcrypt, scrypt and PBKDF2. With an empty hash it
// computes as much as with one of its own, and reports false.
func (h *Hasher) Verify(ctx context.Context, password, encoded string) (ok, upgrade bool, err error) {
	h.start()
	known := encoded != ""
	if !known {
		encoded = h.dummy
	}
	c, err := costOf(encoded)
	if err != nil {
		return false, false, err
	}
	digest, err := c.decode(encoded)
	if err != nil {
		return false, false, fmt.Errorf("%w: %s does not decode", ErrHash, c.kind)
	}
	release, err := h.acquire(ctx, c.memory)
	if err != nil {
		return false, false, err
	}
	defer release()
	h.done.Add(1)
	ok, err = digest.MatchAdvanced(password)
	if err != nil {
		return false, false, fmt.Errorf("%w: %s does not compute", ErrHash, c.kind)
	}
	weaker := c.kind != "argon2id" || c.memory < int64(h.memory()) || c.passes < int64(h.passes())
	return ok && known, ok && known && weaker, nil
}

// Accepts returns why a hash of another system cannot be used, or nil.
func (h *Hasher) Accepts(encoded string) error {
	c, err := costOf(encoded)
	if err != nil {
		return err
	}
	if _, err := c.decode(encoded); err != nil {
		return fmt.Errorf("%w: %s does not decode", ErrHash, c.kind)
	}
	return nil
}

func (h *Hasher) start() {
	h.once.Do(func() {
		n := h.Limit
		if n <= 0 {
			n = runtime.GOMAXPROCS(0)
		}
		h.Limit = n
		h.total = int64(n) * int64(h.memory())
		h.sem = semaphore.NewWeighted(h.total)
		dummy, err := h.hash("no password of anybody")
		if err != nil {
			panic("account: " + err.Error()) // the costs are out of range: the program is wrong
		}
		h.dummy = dummy
	})
}

// acquire waits until there is room for a hash that takes so many KiB. Each
// takes at least as much as one of ours, so that no more than Limit run at once.
func (h *Hasher) acquire(ctx context.Context, kib int64) (release func(), err error) {
	kib = min(max(kib, int64(h.memory())), h.total)
	if h.waiting.Add(1) > int64(h.Limit)*(queued+1) {
		h.waiting.Add(-1)
		return nil, ErrBusy
	}
	if err := h.sem.Acquire(ctx, kib); err != nil {
		h.waiting.Add(-1)
		return nil, fmt.Errorf("wait to hash: %w", err)
	}
	return func() {
		h.sem.Release(kib)
		h.waiting.Add(-1)
	}, nil
}

func (h *Hasher) hash(password string) (string, error) {
	h.done.Add(1)
	a, err := argon2.New(argon2.WithVariantID(), argon2.WithM(h.memory()), argon2.WithT(h.passes()), argon2.WithP(1))
	if err != nil {
		return "", fmt.Errorf("set up Argon2id: %w", err)
	}
	d, err := a.Hash(password)
	if err != nil {
		return "", errors.New("Argon2id does not compute") // its own error could hold the password
	}
	return d.Encode(), nil
}

func (h *Hasher) memory() uint32 {
	if h.MemoryKiB == 0 {
		return 19 << 10
	}
	return h.MemoryKiB
}

func (h *Hasher) passes() int {
	if h.Passes == 0 {
		return 2
	}
	return h.Passes
}

// cost is what it takes to verify a hash.
type cost struct {
	kind   string
	memory int64 // KiB
	passes int64
	decode func(string) (algorithm.Digest, error)
}

// The most that a hash may ask for.
const (
	maxEncoded = 1024 // bytes
	maxKiB     = 256 * 1024
	maxPasses  = 16 // of Argon2id over the memory
	maxLanes   = 16
	maxBcrypt  = 15      // exponent
	maxPBKDF2  = 5000000 // iterations
)

// costOf reads the costs of an encoded hash, by its own strict reading, before
// any other code sees it.
func costOf(encoded string) (cost, error) {
	if len(encoded) > maxEncoded {
		return cost{}, fmt.Errorf("%w: too long", ErrHash)
	}
	part := strings.Split(encoded, "$")
	if len(part) < 4 || part[0] != "" {
		return cost{}, fmt.Errorf("%w: not in crypt form", ErrHash)
	}
	var c cost
	var ok bool
	switch kind := part[1]; kind {
	case "argon2id":
		c, ok = costOfArgon2(part)
	case "2a", "2b", "2y":
		var n int64
		n, ok = number(part[2], maxBcrypt)
		c = cost{kind: "bcrypt", passes: n, decode: bcrypt.Decode}
		ok = ok && len(part) == 4
	case "scrypt":
		c, ok = costOfScrypt(part)
	case "pbkdf2", "pbkdf2-sha1", "pbkdf2-sha224", "pbkdf2-sha256", "pbkdf2-sha384", "pbkdf2-sha512":
		var n int64
		n, ok = number(part[2], maxPBKDF2)
		c = cost{kind: "pbkdf2", passes: n, decode: pbkdf2.Decode}
		ok = ok && len(part) == 5
	default:
		return cost{}, fmt.Errorf("%w: of a kind that is not accepted", ErrHash)
	}
	if !ok {
		return cost{}, fmt.Errorf("%w: costs out of range", ErrHash)
	}
	return c, nil
}

// costOfArgon2 reads $argon2id$v=19$m=…,t=…,p=…$salt$key.
func costOfArgon2(part []string) (cost, bool) {
	if len(part) != 6 || part[2] != "v=19" {
		return cost{}, false
	}
	v, ok := numbers(part[3], []string{"m", "t", "p"}, []int64{maxKiB, maxPasses, maxLanes})
	if !ok {
		return cost{}, false
	}
	return cost{kind: "argon2id", memory: v[0], passes: v[1], decode: argon2.Decode}, true
}

// costOfScrypt reads $scrypt$ln=…,r=…,p=…$salt$key.
func costOfScrypt(part []string) (cost, bool) {
	if len(part) != 5 {
		return cost{}, false
	}
	v, ok := numbers(part[2], []string{"ln", "r", "p"}, []int64{20, 64, maxLanes})
	if !ok {
		return cost{}, false
	}
	kib := (v[1] << v[0]) / 8 // 128 bytes × 2^ln × r
	return cost{kind: "scrypt", memory: kib, passes: v[2], decode: scrypt.Decode}, kib <= maxKiB
}

// numbers reads name=number,… with exactly these names in this order.
func numbers(s string, names []string, limits []int64) ([]int64, bool) {
	fields := strings.Split(s, ",")
	if len(fields) != len(names) {
		return nil, false
	}
	out := make([]int64, len(names))
	for i, f := range fields {
		digits, ok := strings.CutPrefix(f, names[i]+"=")
		if !ok {
			return nil, false
		}
		if out[i], ok = number(digits, limits[i]); !ok {
			return nil, false
		}
	}
	return out, true
}

// number reads a positive decimal number up to limit, without a sign.
func number(s string, limit int64) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 || int64(n) > limit {
		return 0, false
	}
	return int64(n), true
}
