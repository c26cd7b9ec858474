// Package artefact knows the files of plugins: those that people put into the plugins
// folder, and the private copies in the data folder, which are run. It finds files,
// waits until they are stable, checks their owner, mode and header, and copies them.
// It starts no program.
//
// It keeps its half of P10: whatever is wrong in the folder is named with its mend, a
// copy never takes the disk's last room, and nothing of a person's is removed.
//
// Start at [Scan] and [Store].
package artefact

// Fault is an error that the content of a file is to blame for: another content has
// to take its place.
type Fault string

func (f Fault) Error() string { return string(f) }
