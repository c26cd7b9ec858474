package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/ccssim"
)

// BenchmarkLanguages measures a plugin that does nothing and the example echo in each
// language of bin/plugins, beside Go's: real processes, the ledger synced at every
// commit, as fast as the window allows until all is handled. The plugins take turns, so
// that each has the same machine; what is printed are medians of all rounds, of which
// there are BENCH_ROUNDS, or 3.
func BenchmarkLanguages(b *testing.B) {
	rounds, err := strconv.Atoi(cmp.Or(os.Getenv("BENCH_ROUNDS"), "3"))
	if err != nil || rounds < 1 {
		b.Fatalf("BENCH_ROUNDS=%q: want 1 or more", os.Getenv("BENCH_ROUNDS"))
	}
	all := contenders(b)
	if len(all) == 2 { // Go's
		b.Skip("no other language's examples are there: make sdk-python, sdk-node and sdk-java make them")
	}
	for b.Loop() {
		for range rounds {
			for _, c := range all {
				c.turns = append(c.turns, c.measure(b))
			}
		}
		fmt.Printf("\nplugins in other languages: %d upstreams of 300 bytes, window 100, as fast as they are handled, ledger synced at every commit; medians of %d rounds in turn, and times Go's\n", languageLoad, rounds)
		printContenders(all)
	}
}

// languageLoad is how many upstreams one turn measures, and a third of it is how many go
// before, to warm up.
const languageLoad = 60_000

// contender is one plugin of the benchmark.
type contender struct {
	language, plugin string
	bin              string // has balhost, and the folder plugins with this plugin alone
	turns            []turn
}

// turn is what one measurement has given.
type turn struct {
	rate         float64 // messages a second, handled
	plugin, host float64 // CPU in µs a message
	start        float64 // seconds from the start of a process until it serves
	memory       float64 // MiB of all its processes, after the load
}

// contenders are both plugins of each language that is there.
func contenders(b *testing.B) (all []*contender) {
	b.Helper()
	balhost := filepath.Join(buildBench(b), "balhost")
	for _, language := range languages {
		echo, made := exampleFolder(b, language, "echo")
		if !made {
			continue
		}
		for plugin, folder := range map[string]string{"ackonly": ackonlyFolder(b, language, echo), "echo": echo} {
			c := &contender{language: language, plugin: plugin, bin: b.TempDir()}
			if err := os.Mkdir(filepath.Join(c.bin, "plugins"), 0o700); err != nil {
				b.Fatal(err)
			}
			for from, to := range map[string]string{balhost: "balhost", folder: "plugins/" + plugin} {
				if err := os.Symlink(from, filepath.Join(c.bin, to)); err != nil {
					b.Fatal(err)
				}
			}
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, c *contender) int { return strings.Compare(a.plugin, c.plugin) })
	return all
}

// ackonlyFolder makes the folder of a plugin that does nothing, with the SDK that is in
// the folder of echo.
func ackonlyFolder(b *testing.B, language, echo string) (dir string) {
	b.Helper()
	dir = filepath.Join(b.TempDir(), "ackonly")
	if language == "python" || language == "java" {
		if err := os.CopyFS(dir, os.DirFS(echo)); err != nil {
			b.Fatal(err)
		}
	}
	var command []string
	switch language {
	case "go":
		command = []string{"go", "build", "-ldflags=-s -w", "-o", filepath.Join(dir, "plugin"), "./testdata/ackonly"}
	case "python": // its program imports echo
		command = []string{"cp", "testdata/ackonly/ackonly.py", filepath.Join(dir, "echo.py")}
	case "node":
		command = []string{"node", "../sdk/node/dist/src/bundle.js", "testdata/ackonly/ackonly.mjs", dir}
	case "java":
		jar := `"$BALHOST_PLUGIN_DIR/plugin.jar"`
		edit(b, filepath.Join(dir, "plugin"), "-jar "+jar, "-cp "+jar+`:"$BALHOST_PLUGIN_DIR" Ackonly`)
		command = []string{"javac", "-cp", filepath.Join(dir, "plugin.jar"), "-d", dir, "testdata/ackonly/Ackonly.java"}
	}
	if out, err := exec.CommandContext(b.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
		b.Fatalf("%v: %v\n%s", command, err, out)
	}
	return dir
}

// edit replaces a text that must be in a file.
func edit(b *testing.B, name, old, with string) {
	b.Helper()
	text, err := os.ReadFile(name)
	if err != nil || !bytes.Contains(text, []byte(old)) {
		b.Fatalf("%s, without %s: %v\n%s", name, old, err, text)
	}
	if err := os.WriteFile(name, bytes.Replace(text, []byte(old), []byte(with), 1), 0o700); err != nil {
		b.Fatal(err)
	}
}

// measure runs a simulator and a host with the plugin alone.
func (c *contender) measure(b *testing.B) (t turn) {
	b.Helper()
	dir := b.TempDir()
	sim := startSim(b, c.bin, dir)
	defer sim.stop(b)
	host := startHost(b, c.bin, dir, sim)
	defer host.stop(b)

	old := host.plugin(b)
	if _, err := host.client.Reload(b.Context(), admin.ReloadOrder{Plugin: c.plugin, Force: true}); err != nil { // the host itself is up now
		b.Fatal(err)
	}
	pid := 0
	poll(b, "another process of the plugin runs", func() bool {
		p := host.status(b).Plugins[0]
		pid = p.PID
		return p.State == "running" && pid != old
	})
	t.start = age(b, pid).Seconds()

	c.load(b, sim, host, languageLoad/3)
	before, hostCPU, pluginCPU := time.Now(), cpu(b, host.pid()), cpu(b, pid)
	c.load(b, sim, host, languageLoad)
	t.rate = languageLoad / time.Since(before).Seconds()
	t.host = float64((cpu(b, host.pid()) - hostCPU).Microseconds()) / languageLoad
	t.plugin = float64((cpu(b, pid) - pluginCPU).Microseconds()) / languageLoad
	after := host.status(b).Plugins[0]
	if t.memory = float64(after.Memory) / (1 << 20); after.PID != pid {
		b.Errorf("%s's %s has been started again in the midst: %s", c.language, c.plugin, after.Reason)
	}
	return t
}

// load sends so many upstreams, and waits until all is handled and all that came of it has
// gone out.
func (c *contender) load(b *testing.B, sim *simProcess, host *hostProcess, count int) {
	b.Helper()
	category := map[string]string{"ackonly": "com.example.bench", "echo": "com.example.echo"}[c.plugin]
	acked := sim.report(b).Acked
	sim.post(b, "/devices", ccssim.Devices{Count: 1000, Limit: count, Category: category, Size: 300})
	pollFor(b, 10*time.Minute, "all is handled", func() bool {
		l := host.status(b).Ledger
		return l.Events+l.Downstreams == 0 && sim.report(b).Acked == acked+uint64(count)
	})
}

// printContenders prints a line for each language: its medians, and how many times Go's
// they are.
func printContenders(all []*contender) {
	medians := map[string]turn{}
	for _, c := range all {
		of := func(value func(turn) float64) float64 {
			var values []float64
			for _, t := range c.turns {
				values = append(values, value(t))
			}
			slices.Sort(values)
			return values[len(values)/2]
		}
		medians[c.language+c.plugin] = turn{
			rate:   of(func(t turn) float64 { return t.rate }),
			plugin: of(func(t turn) float64 { return t.plugin }),
			host:   of(func(t turn) float64 { return t.host }),
			start:  of(func(t turn) float64 { return t.start }),
			memory: of(func(t turn) float64 { return t.memory }),
		}
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer out.Flush()
	fmt.Fprintln(out, "\tplugin\tmessages/s\t\tCPU of plugin, µs\t\tCPU of host, µs\t\tstart, s\t\tmemory, MiB\t")
	for _, c := range all {
		t, than := medians[c.language+c.plugin], medians["go"+c.plugin]
		fmt.Fprintf(out, "  %s\t%s", c.language, c.plugin)
		for _, cell := range []struct {
			form         string
			value, other float64
		}{{"%.0f", t.rate, than.rate}, {"%.1f", t.plugin, than.plugin}, {"%.1f", t.host, than.host}, {"%.2f", t.start, than.start}, {"%.0f", t.memory, than.memory}} {
			fmt.Fprintf(out, "\t"+cell.form+"\t×%.2f", cell.value, cell.value/cell.other)
		}
		fmt.Fprintln(out)
	}
}
