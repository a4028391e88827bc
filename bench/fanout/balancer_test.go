package fanout_test

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"
)

// A balancer stands before the nodes, at the address that is the issuer. It
// hands each connection to the next node that takes it.
type balancer struct {
	ln   net.Listener
	work sync.WaitGroup

	mu    sync.Mutex
	nodes []string
	next  int
	conns map[net.Conn]struct{}
	ended bool
}

func newBalancer(t testing.TB, nodes []string) *balancer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{ln: ln, nodes: nodes, conns: map[net.Conn]struct{}{}}
	b.work.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			b.work.Go(func() { b.serve(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		b.mu.Lock()
		b.ended = true
		for c := range b.conns {
			c.Close()
		}
		b.mu.Unlock()
		b.work.Wait()
	})
	return b
}

func (b *balancer) url() string { return "http://" + b.ln.Addr().String() }

// hold keeps a connection so that the end of the test closes it.
func (b *balancer) hold(c net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		c.Close()
		return
	}
	b.conns[c] = struct{}{}
}

func (b *balancer) drop(c net.Conn) {
	c.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, c)
}

// order returns the nodes, beginning with the one whose turn it is.
func (b *balancer) order() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	at := b.next % len(b.nodes)
	return slices.Concat(b.nodes[at:], b.nodes[:at])
}

func (b *balancer) serve(client net.Conn) {
	b.hold(client)
	defer b.drop(client)
	for _, address := range b.order() {
		node, err := net.Dial("tcp", address)
		if err != nil {
			continue // it is down: the next one
		}
		b.hold(node)
		defer b.drop(node)
		b.work.Go(func() {
			io.Copy(node, client)
			b.drop(node)
		})
		io.Copy(client, node)
		return
	}
}
