package server

const (
	// ownDescriptors are kept back for the node itself: files, both listeners, the link to the control plane and its next
	// try, and whoever asks for health and metrics.
	ownDescriptors = 64
	opsConnections = 32 // of them

	memoryPerConnection = 64 << 10 // of a client with a stream, both sides, with room to spare
	leastConnections    = 16
	mostConnections     = 1 << 16
)

// connections answers how many clients may be connected. A request can need a second descriptor for its upstream, so half
// of what the process may open is theirs; and half of GOMEMLIMIT, if there is one, must hold them all.
func connections(descriptors uint64, memoryLimit int64) int {
	n := int64(min(descriptors, 4*mostConnections))
	n = (n - ownDescriptors) / 2
	n = min(n, memoryLimit/2/memoryPerConnection, mostConnections)
	return int(max(n, leastConnections))
}

// heldFailures answers how many failed logins may wait for their answer: what strangers hold must leave room for clients.
func heldFailures(connections int) int { return min(connections/8, 1024) }
