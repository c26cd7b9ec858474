// Package hosttest runs a whole host in one process. daemon.Serve wires it, as
// it wires the real one: ledger, dispatch, outbox, sessions and reloads are real.
// In place of the network there is net.Pipe with a ccssim or fcmsim server at its
// other end; devices dial its gateways the same way. In place of pluginhost's processes there are functions that speak the
// wire's frames. Nothing listens for the API; tests call its functions.
//
// It is made for testing/synctest, where an hour passes at once. A [Host] can be
// started, stopped and killed. Its [Disk] can be slow, full, or end it in the
// middle of a commit. Its [Link] can break at any byte. Every plugin's [Process]
// can die.
//
// Badger's goroutines live in the bubble too. While one of them is in a system
// call the bubble's clock stands still, so the disk takes no time but what
// [Disk.Slow] gives it. Not under control, and so different between two runs
// of one seed: the order in which goroutines run, the jitter of backoffs, the
// ids of events. A seed replays the schedule of faults and messages, not each
// interleaving; a rare failure may need a few runs of its seed.
//
// A Host owns all its goroutines; Stop, or Kill and Wait, end them. Start at
// [Start]. The simulation of P1 to P8 is in sim_test.go.
package hosttest
