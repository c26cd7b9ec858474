// Package hosttest holds a whole host in one process: the real ledger,
// dispatch, outbox and ccs, wired as package daemon wires them, with a ccssim
// server at the other end of net.Pipe, and plugins that are functions speaking
// the wire's frames. It is made for testing/synctest, where an hour passes at
// once: a [Host] is started, stopped and killed; its [Disk] is slow, full, or
// ends it in the middle of a commit; its [Link] breaks at any byte; and every
// plugin's [Process] can die.
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
