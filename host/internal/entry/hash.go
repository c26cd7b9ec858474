package entry

import "balhost/sdk/message"

// Hash hashes texts that an index does not need in full. It is FNV-1a, so the hash is
// the same in every run and every release. It is never 0, which means "none".
func Hash(parts ...string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for _, p := range parts {
		for i := range len(p) {
			h = (h ^ uint64(p[i])) * prime
		}
		h = (h ^ 0xff) * prime // no UTF-8 text has this byte
	}
	return max(h, 1)
}

// GroupHash is [Trace.Group] of the downstreams of a group, and of their outcomes and
// receipts; 0 without a name.
func GroupHash(session, owner, name string) uint64 {
	if name == "" {
		return 0
	}
	return Hash(session, owner, name)
}

// DeviceHash is [Event.Device] of a device's upstreams.
func DeviceHash(session, token string) uint64 { return Hash(session, token) }

// TargetHash is [Downstream.Target] of downstreams to a target. That of a token is the
// device's hash.
func TargetHash(session string, to message.Target) uint64 {
	switch {
	case to.FID != "":
		return Hash(session, "fid", to.FID)
	case to.Topic != "":
		return Hash(session, "topic", to.Topic)
	case to.Condition != "":
		return Hash(session, "condition", to.Condition)
	}
	return DeviceHash(session, to.Token)
}
