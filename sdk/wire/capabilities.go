package wire

import "slices"

// Offsets is the capability of a plugin that finds an upstream's data in the raw payload.
const Offsets = "offsets"

// HostCapabilities are what this host offers in DescribeRequest.
func HostCapabilities() []string { return []string{Offsets, Metrics} }

// Common returns the capabilities that both sides have named.
func Common(ours, theirs []string) []string {
	var both []string
	for _, name := range ours {
		if slices.Contains(theirs, name) {
			both = append(both, name)
		}
	}
	return both
}
