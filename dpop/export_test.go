package dpop

// Servers returns of how many servers something is remembered.
func (t *Transport) Servers() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.servers)
}
