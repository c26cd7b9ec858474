// Package plugincheck tries one plugin without a host: it vets, stages and starts the
// plugin as the host does, and then is a host on the wire, one that treats it as well
// as a host will and as badly as life will. What comes out is a table of rows, each with
// what was found, and with what to mend.
//
// It keeps no promise of the host. It says whether a plugin keeps its own, which stand in
// sdk/wire/PROTOCOL.md, so that P1 to P9 hold with it.
//
// A check runs on its caller's goroutine, row by row. Each process has a session with
// two more, which read and write its stream.
//
// Start at [Run], and at [rows] for what is checked.
package plugincheck
