package pluginhost

import (
	"balhost/host/internal/pluginhost/artefact"
	"balhost/host/internal/pluginhost/process"
)

// What can be said and done without a host that runs.

// Candidate is one entry of a plugins folder.
type Candidate = artefact.Candidate

// Look says what the host would make of a plugins folder, by name, without
// starting anything. allowed gives the sha256 of the content that the config allows
// a plugin, in hex; "" for any.
func Look(dir string, allowed func(name string) string) ([]Candidate, error) {
	return artefact.Look(dir, allowed)
}

// Sweep removes the unfinished copies of plugins that a killed host left in a data
// folder. They may be what fills the disk, so it comes before the ledger's Open.
func Sweep(dataDir string) error { return artefact.Sweep(dataDir) }

// Unfit says why plugins could not be run on a data folder, there yet or not,
// with the mend; nothing is made. Empty: they could, as far as can be seen.
func Unfit(dataDir string) (reasons []string) {
	for _, reason := range []string{artefact.Unfit(dataDir), process.Unfit(dataDir)} {
		if reason != "" {
			reasons = append(reasons, reason)
		}
	}
	return reasons
}
