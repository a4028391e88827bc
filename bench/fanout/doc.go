// Package fanout shows how long a revocation takes to the last of many guards:
// real server processes, real sockets, one node and several, of which one
// restarts and one is killed meanwhile. It holds nothing but its tests.
package fanout
