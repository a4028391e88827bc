package theft_test

import (
	"testing"
	"time"

	"github.com/fastbind/fastbind/internal/demo/theft"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestVisitorsAreBounded(t *testing.T) {
	t.Parallel()
	var v theft.Visitors
	first := v.Add(epoch)
	second := v.Add(epoch.Add(time.Second))
	for i := range theft.MaxVisitors - 2 {
		v.Add(epoch.Add(time.Duration(i+2) * time.Second))
	}
	last := epoch.Add(theft.MaxVisitors * time.Second)
	if !v.Find(first, last) || !v.Find(second, epoch.Add(time.Second)) {
		t.Fatal("a visitor was forgotten while there was room")
	}
	v.Add(last)
	if !v.Find(first, last) {
		t.Error("who was here just now was forgotten")
	}
	if v.Find(second, last) {
		t.Error("who was here longest ago was not forgotten")
	}
}

func TestVisitorsExpire(t *testing.T) {
	t.Parallel()
	var v theft.Visitors
	cookie := v.Add(epoch)
	v.Sweep(epoch.Add(theft.VisitorIdle - 1))
	if !v.Find(cookie, epoch) {
		t.Fatal("a visitor was forgotten too early")
	}
	v.Sweep(epoch.Add(theft.VisitorIdle))
	if v.Find(cookie, epoch) {
		t.Error("a visitor was not forgotten")
	}
}

func TestVisitorUnknown(t *testing.T) {
	t.Parallel()
	var v theft.Visitors
	v.Add(epoch)
	if v.Find("", epoch) || v.Find("guessed", epoch) {
		t.Error("somebody with another cookie was found")
	}
}
