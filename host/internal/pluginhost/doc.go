// Package pluginhost runs plugins: it finds their files, starts each as a process,
// gives it to a [Dispatcher] when it is ready, replaces it when its file or its
// config changes, and drains and stops it. No event passes through here.
//
// It has three parts, of which each stands alone:
//   - artefact is what lies on the disk: the files of the plugins folder, and the
//     private copies that run;
//   - process is what runs: start, handshake, what is printed, end;
//   - policy decides what should run now: a new version is started, watched, rolled
//     back or refused. Its testdata/rules.txt shows each rule.
//
// A supervisor for each plugin joins them: it tells its policy what happens, and
// carries out what it decides.
//
// It keeps P9: a new version (content and options) starts beside the old one, proves
// itself, takes over, and is watched for a while. If it is no good the old one serves
// on, or comes back. P5: what a process held is let go (instance.Dispatch.Gone) only
// when the process has exited and was awaited. P10: whatever lies in the folder or
// comes out of a process, the host lives on, and so do the other plugins.
//
// One goroutine looks at the folder ([Host.Run]), one for each plugin supervises it
// (supervisor.run), and one for each process owns it from start to end (life.run).
//
// Start at [Host.Run].
package pluginhost
