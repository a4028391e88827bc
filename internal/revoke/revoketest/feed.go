package revoketest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastbind/fastbind/internal/audit"
	"github.com/fastbind/fastbind/internal/revoke"
)

func token(t *testing.T, s Stores, value string, until time.Time) {
	t.Helper()
	end(t, s, revoke.Order{Kind: revoke.Token, Value: value, At: at, Until: until})
}

func sincePages(t *testing.T, s Stores) {
	if entries, newest, err := s.Revocations.Since(t.Context(), 0, epoch, 10); err != nil || len(entries) != 0 || newest != 0 {
		t.Errorf("an empty feed: %v up to %d, %v", entries, newest, err)
	}
	for _, v := range []string{"1", "2", "3", "4", "5"} {
		token(t, s, v, until)
	}
	for _, step := range []struct {
		after int64
		limit int
		want  []int64
	}{{0, 2, []int64{1, 2}}, {2, 2, []int64{3, 4}}, {4, 2, []int64{5}}, {5, 2, nil}, {99, 2, nil}, {1, 100, []int64{2, 3, 4, 5}}} {
		entries, newest, err := s.Revocations.Since(t.Context(), step.after, epoch, step.limit)
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for _, e := range entries {
			got = append(got, e.Number)
		}
		if diff := cmp.Diff(step.want, got); diff != "" || newest != 5 {
			t.Errorf("after %d, at most %d: newest %d, %s", step.after, step.limit, newest, diff)
		}
	}
}

// sinceForgets: entries live as long as the tokens that they can name; the
// newest number stays.
func sinceForgets(t *testing.T, s Stores) {
	token(t, s, "short", until)
	token(t, s, "long", until.Add(time.Hour))
	for now, want := range map[time.Time]int{until: 2, until.Add(time.Second): 1, until.Add(2 * time.Hour): 0} {
		entries, newest, err := s.Revocations.Since(t.Context(), 0, now, 10)
		if err != nil || len(entries) != want || newest != 2 {
			t.Errorf("at %v: %d entries, newest %d, %v, want %d", now, len(entries), newest, err, want)
		}
	}
}

// numbersHaveNoGaps lets many callers append, and readers look all the while:
// what a reader sees is always complete up to the newest number it is told.
func numbersHaveNoGaps(t *testing.T, s Stores) {
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				entries, newest, err := s.Revocations.Since(t.Context(), 0, epoch, 1000)
				if err != nil || newest != int64(len(entries)) {
					t.Errorf("%d entries up to number %d, %v", len(entries), newest, err)
				}
				for i, e := range entries {
					if e.Number != int64(i)+1 {
						t.Errorf("entry %d has the number %d", i+1, e.Number)
					}
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	var numbers [32][3]int64
	together(func(i int) {
		for k := range numbers[i] {
			done, err := s.Revocations.End(t.Context(), revoke.Order{
				Kind: revoke.Token, Value: "v", Reason: audit.RevokedByClient, At: at, Until: until,
			})
			if err != nil {
				t.Error(err)
			}
			numbers[i][k] = done.Number
		}
	})
	close(done)
	readers.Wait()
	seen := map[int64]bool{}
	for _, of := range numbers {
		for _, n := range of {
			if n < 1 || n > 96 || seen[n] {
				t.Errorf("number %d was given twice or is out of order", n)
			}
			seen[n] = true
		}
	}
	if n := len(feed(t, s)); n != 96 {
		t.Errorf("the feed has %d entries, want 96", n)
	}
}

func wake(t *testing.T, s Stores) {
	ctx, cancel := context.WithCancelCause(t.Context())
	woken := make(chan struct{}, 1)
	returned := make(chan error, 1)
	go func() {
		returned <- s.Revocations.Wake(ctx, func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		})
	}()
	// It is called once it listens: what was appended before may not wake.
	<-woken
	a := begin(t, s, "c", "1", "s", false)
	for name, act := range map[string]func(){
		"End":  func() { token(t, s, "v", until) },
		"Swap": func() { swap(t, s, stolen(load(t, s, a))) },
	} {
		number := func() int64 {
			_, newest, err := s.Revocations.Since(t.Context(), 0, epoch, 1)
			if err != nil {
				t.Fatal(err)
			}
			return newest
		}
		before := number()
		act()
		patience := time.NewTimer(5 * time.Second)
		for seen := before; seen == before; seen = number() {
			select {
			case <-woken:
			case <-patience.C:
				t.Fatalf("%s woke nobody", name)
			}
		}
		patience.Stop()
	}
	ended := errors.New("that is enough")
	cancel(ended)
	if err := <-returned; !errors.Is(err, ended) {
		t.Errorf("Wake returned %v, want the cause of the end", err)
	}
}
