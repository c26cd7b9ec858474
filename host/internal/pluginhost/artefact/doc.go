// Package artefact is what lies on the disk of plugins: their files in the plugins
// folder, which anybody may put there, and the private copies in the data folder,
// which are what runs. It finds files, waits until they are stable, says what stands
// against them (by their owner, their mode and their header), and copies them. It
// starts no program.
//
// It keeps its half of P10: whatever lies in the folder is named with its mend, a
// copy never takes the disk's last room, and nothing of a person's is removed.
//
// Start at [Scan] and [Store].
package artefact

// Fault is an error that the content of a file is to blame for: another content has
// to take its place.
type Fault string

func (f Fault) Error() string { return string(f) }
