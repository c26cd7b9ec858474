package pluginhost

import (
	"balhost/host/internal/pluginhost/artefact"
	"balhost/host/internal/pluginhost/process"
)

// What can be said and done without a host that runs.

// Candidate is one entry of a plugins folder.
type Candidate = artefact.Candidate

// Bounds are what a plugin's file or folder may have.
type Bounds = artefact.Bounds

// Look is artefact's.
func Look(dir string, b Bounds, allowed func(name string) string) ([]Candidate, error) {
	return artefact.Look(dir, b, allowed)
}

// Sweep is artefact's. Unfinished copies may be what fills the disk, so it comes before
// the ledger's Open, which looks for room.
func Sweep(dataDir string) error { return artefact.Sweep(dataDir) }

// Unfit says why plugins could not be run on a data folder, there yet or not, with the
// mend; nothing is made. Empty: they could, as far as can be seen.
func Unfit(dataDir string) (reasons []string) {
	for _, reason := range []string{artefact.Unfit(dataDir), process.Unfit(dataDir)} {
		if reason != "" {
			reasons = append(reasons, reason)
		}
	}
	return reasons
}
