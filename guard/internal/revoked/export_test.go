package revoked

// SetMost lets s hold few endings.
func (s *Set) SetMost(n int) { s.most = n / shards }
