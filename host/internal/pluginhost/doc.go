// Package pluginhost runs plugins: it finds files in the plugins folder, waits
// until they have settled, stages a private copy of their content, starts that
// as a process over go-plugin, supervises it, and drains and stops it. What is
// ready goes to a [Dispatcher]; no event passes through here.
//
// It keeps P9: a new version (content and options) starts beside the old one,
// proves itself, takes over, and is watched for a while. If it is no good the old
// one serves on, or comes back, and the new one is refused until the file or the
// config changes. Package policy decides all that, by the rules in its
// testdata/rules.txt; here it is carried out.
//
// It keeps P5's half that concerns processes: whatever a process held is let go
// (instance.Dispatch.Gone) only when the process has exited and was awaited. And P10:
// whatever lies in the folder or comes out of a process, the host lives on, and
// so do the other plugins.
//
// What a plugin has started ends with it (kin.go), also when the host was killed:
// then at the next start, before anything else.
//
// One goroutine looks at the folder ([Host.Run]). One for each plugin tells its
// policy what happens and carries out what it decides (supervisor.run). One for
// each process owns it from start to end (life.run). A
// thread of its own starts all processes, since a plugin dies with the thread
// that started it (sys_linux.go).
//
// Start at [Host.Run].
package pluginhost
