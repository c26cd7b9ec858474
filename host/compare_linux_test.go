package main

import (
	"archive/tar"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkCompare holds this tree against the commit BENCH_BASE, on the main
// path as BenchmarkUpstream has it. The two run in turn, each once a round, and
// the one that began is second in the next round. Before each the disk alone is
// measured. The load and the simulator are this tree's for both; host and plugin
// are each side's own, for they are one product. Every run begins with an empty
// ledger.
//
// BENCH_ROUNDS (5) and BENCH_LOAD (15s, for each load) say for how long;
// BENCH_OUT=FILE gets all figures as JSON. SIGINT and SIGTERM end it, and
// nothing that it has made stays.
func BenchmarkCompare(b *testing.B) {
	o := comparison{Base: os.Getenv("BENCH_BASE"), Rounds: 5, Load: 15 * time.Second}
	if o.Base == "" {
		b.Skip("BENCH_BASE names no commit to compare with; see make bench-compare")
	}
	o.settings(b)
	ctx, cancel := signal.NotifyContext(b.Context(), os.Interrupt, syscall.SIGTERM)
	defer cancel()

	sides := []side{{"base", buildBase(ctx, b, o.Base)}, {"this", buildIn(ctx, b, ".")}}
	harness := sides[1].bin
	for b.Loop() {
		for round := range o.Rounds {
			for _, s := range sides {
				f := o.run(ctx, b, harness, s)
				f.Round = round + 1
				o.Figures = append(o.Figures, f)
				fmt.Fprintf(os.Stderr, "round %d of %d, %s: full speed %.0f/s, p99 %.2f ms; 1,000/s p99 %.2f ms; 3,000/s p99 %.2f ms; peak %.0f MiB; the disk alone p99 %.2f ms; other programs %.2f cores\n",
					f.Round, o.Rounds, f.Side, f.Full.Rate, f.Full.P99, f.At1000.P99, f.At3000.P99, f.PeakMiB, f.Disk.P99, f.Others)
			}
			slices.Reverse(sides)
		}
		o.print(os.Stdout)
		o.keep(b)
		for _, r := range o.ratios() {
			b.ReportMetric(r.of.median, r.unit)
		}
	}
}

// side is one of the two, and the folder of its programs.
type side struct{ name, bin string }

// comparison is what was asked for and what came out.
type comparison struct {
	Base    string        `json:"base"`
	This    string        `json:"this"`
	Rounds  int           `json:"rounds"`
	Load    time.Duration `json:"load_ns"`
	Figures []figures     `json:"figures"`
}

// figures are one run of one side. Times are ms, CPU is µs a message.
type figures struct {
	Round   int     `json:"round"`
	Side    string  `json:"side"`
	Disk    bare    `json:"disk"`
	Others  float64 `json:"other_programs_cores"` // in use meanwhile by what is no part of this; the kernel's threads are in it
	RestMiB float64 `json:"rest_mib"`             // before the first load
	PeakMiB float64 `json:"peak_mib"`
	Full    loaded  `json:"full_speed"`
	At1000  loaded  `json:"at_1000"`
	At3000  loaded  `json:"at_3000"`
}

// loaded is the host under one load.
type loaded struct {
	Rate float64 `json:"acked_per_second"`
	P50  float64 `json:"ack_p50_ms"`
	P99  float64 `json:"ack_p99_ms"`
	Max  float64 `json:"ack_max_ms"`
	CPU  float64 `json:"host_cpu_us"`
}

// bare is the disk without a host: how long 4 KiB take, written and synced into
// a file whose blocks are all there.
type bare struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
}

func (o *comparison) settings(b *testing.B) {
	b.Helper()
	var err error
	if s := os.Getenv("BENCH_ROUNDS"); s != "" {
		if o.Rounds, err = strconv.Atoi(s); err != nil || o.Rounds < 1 {
			b.Fatalf("BENCH_ROUNDS=%q: want a number", s)
		}
	}
	if s := os.Getenv("BENCH_LOAD"); s != "" {
		if o.Load, err = time.ParseDuration(s); err != nil || o.Load < time.Second {
			b.Fatalf("BENCH_LOAD=%q: want a duration from 1s on", s)
		}
	}
	git := func(args ...string) string {
		out, err := exec.Command("git", args...).Output()
		if err != nil {
			b.Fatalf("git %q: %v", args, err)
		}
		return strings.TrimSpace(string(out))
	}
	o.Base = git("rev-parse", "--verify", "--short", o.Base+"^{commit}")
	o.This = git("describe", "--always", "--dirty")
}

// run measures one side, in a folder that is gone afterwards.
func (o *comparison) run(ctx context.Context, b *testing.B, harness string, s side) figures {
	b.Helper()
	root := cmp.Or(os.Getenv("BENCH_DIR"), b.TempDir())
	dir, err := os.MkdirTemp(root, "run")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	f := figures{Side: s.name, Disk: bareWrites(ctx, b, dir)}
	sim := startSim(b, harness, dir)
	host := startHost(b, s.bin, dir, sim)
	f.RestMiB = float64(resident(b, host.pid()))
	ours := func() time.Duration {
		return cpu(b, sim.pid()) + cpu(b, host.pid()) + cpu(b, host.plugin(b)) + cpu(b, os.Getpid())
	}
	began, others := time.Now(), busy(b)-ours()
	load := func(rate int) loaded {
		r := measure(ctx, b, sim, host, rate, o.Load, "")
		return loaded{Rate: r.rate, P50: ms(r.latency.P50), P99: ms(r.latency.P99), Max: ms(r.latency.Max), CPU: r.host}
	}
	f.Full, f.At1000, f.At3000 = load(0), load(1000), load(3000)
	f.Others = (busy(b) - ours() - others).Seconds() / time.Since(began).Seconds()
	f.PeakMiB = float64(peak(b, host.pid()))
	host.stop(b)
	sim.stop(b)
	if err := os.RemoveAll(dir); err != nil {
		b.Fatal(err)
	}
	return f
}

// busy is how long all cores together have run something, since the machine's start.
func busy(b *testing.B) time.Duration {
	b.Helper()
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		b.Fatal(err)
	}
	var user, nice, system, idle, waiting, irq, softirq int
	if _, err := fmt.Sscanf(string(stat), "cpu %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &waiting, &irq, &softirq); err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+nice+system+irq+softirq) * 10 * time.Millisecond
}

// bareWrites writes and syncs for two seconds.
func bareWrites(ctx context.Context, b *testing.B, dir string) bare {
	b.Helper()
	f, err := os.Create(filepath.Join(dir, "bare"))
	if err != nil {
		b.Fatal(err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // its folder goes too
	defer f.Close()           //nolint:errcheck // what was written is of no use
	const size, page = 16 << 20, 4 << 10
	if _, err = f.Write(make([]byte, size)); err == nil {
		err = f.Sync()
	}
	var took []float64
	words := []byte(strings.Repeat("balhost ", page/8))
	for start := time.Now(); err == nil && time.Since(start) < 2*time.Second && ctx.Err() == nil; {
		at := time.Now()
		if _, err = f.WriteAt(words, int64(len(took)*page%size)); err == nil {
			err = syscall.Fdatasync(int(f.Fd()))
		}
		took = append(took, ms(time.Since(at)))
	}
	if err = errors.Join(err, context.Cause(ctx)); err != nil {
		b.Fatal(err)
	}
	slices.Sort(took)
	return bare{P50: took[len(took)/2], P99: took[len(took)*99/100]}
}

// buildBase builds a commit from a copy of its files, and gives the programs'
// folder. Git need not know of the copy, so nothing of it can stay.
func buildBase(ctx context.Context, b *testing.B, commit string) string {
	b.Helper()
	source := b.TempDir()
	if err := filesOf(ctx, commit, source); err != nil {
		b.Fatal(err)
	}
	return buildIn(ctx, b, filepath.Join(source, "host"))
}

// filesOf writes the files of a commit below dir.
func filesOf(ctx context.Context, commit, dir string) error {
	archive := gitCommand(ctx, "archive", "--format=tar", commit)
	archive.Dir, archive.Stderr = "..", os.Stderr // the whole tree, not this folder's part
	files, err := archive.StdoutPipe()
	if err != nil {
		return err
	}
	if err := archive.Start(); err != nil {
		return err
	}
	err = unpack(files, dir)
	if err := errors.Join(archive.Wait(), err); err != nil {
		return fmt.Errorf("the files of %s: %w", commit, err)
	}
	return nil
}

// gitCommand is git, which also reads a clone that another user owns.
func gitCommand(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "git", append([]string{"-c", "safe.directory=*"}, args...)...)
}

// unpack writes an archive's files below dir.
func unpack(archive io.Reader, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // a folder
	for r := tar.NewReader(archive); ; {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(filepath.Clean(h.Name), 0o755)
		case tar.TypeReg:
			var text []byte
			if text, err = io.ReadAll(r); err == nil {
				err = root.WriteFile(h.Name, text, h.FileInfo().Mode().Perm())
			}
		}
		if err != nil {
			return err
		}
	}
}

// spread is where a figure of several rounds lies.
type spread struct{ median, min, max float64 }

func spreadOf(v []float64) spread {
	v = slices.Sorted(slices.Values(v))
	return spread{(v[(len(v)-1)/2] + v[len(v)/2]) / 2, v[0], v[len(v)-1]}
}

// String has three digits of each, two behind the point at most, and all before it.
func (s spread) String() string {
	short := func(f float64) string {
		digits := 2 - int(math.Floor(math.Log10(max(f, 0.01))))
		return strconv.FormatFloat(f, 'f', min(max(digits, 0), 2), 64)
	}
	return fmt.Sprintf("%s (%s-%s)", short(s.median), short(s.min), short(s.max))
}

// of is one figure of a side, in all rounds.
func (o *comparison) of(side string, figure func(figures) float64) (v []float64) {
	for round := range o.Rounds {
		i := slices.IndexFunc(o.Figures, func(f figures) bool { return f.Side == side && f.Round == round+1 })
		v = append(v, figure(o.Figures[i]))
	}
	return v
}

// ratio is this tree's figure as a part of the base's, round by round: what
// slows the machine down for a while is in both.
func (o *comparison) ratio(figure func(figures) float64) spread {
	base, this := o.of("base", figure), o.of("this", figure)
	for i := range this {
		this[i] /= base[i]
	}
	return spreadOf(this)
}

type namedRatio struct {
	name, unit string
	of         spread
}

// ratios are those that count.
func (o *comparison) ratios() []namedRatio {
	return []namedRatio{
		{"p99 of acks at 1,000/s", "p99@1000/s-ratio", o.ratio(func(f figures) float64 { return f.At1000.P99 })},
		{"p99 of acks at full speed", "p99-ratio", o.ratio(func(f figures) float64 { return f.Full.P99 })},
		{"messages/s at full speed", "msg/s-ratio", o.ratio(func(f figures) float64 { return f.Full.Rate })},
		{"peak memory of the host", "memory-ratio", o.ratio(func(f figures) float64 { return f.PeakMiB })},
	}
}

func (o *comparison) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s (this tree) against %s (base), in turn; rounds %d, each load %v; upstream of 300 bytes, window 100, one connection\n",
		o.This, o.Base, o.Rounds, o.Load)
	fmt.Fprintf(w, "  median (lowest-highest) of the rounds; the ratio is that of each round\n\n")
	row := func(name string, figure func(figures) float64) {
		fmt.Fprintf(w, "  %-28s %24s %24s %20s\n", name, spreadOf(o.of("base", figure)), spreadOf(o.of("this", figure)), o.ratio(figure))
	}
	fmt.Fprintf(w, "  %-28s %24s %24s %20s\n", "", "base", "this tree", "this / base")
	for _, load := range []struct {
		name string
		of   func(figures) loaded
	}{
		{"1,000/s", func(f figures) loaded { return f.At1000 }},
		{"3,000/s", func(f figures) loaded { return f.At3000 }},
		{"full speed", func(f figures) loaded { return f.Full }},
	} {
		row(load.name+": acked/s", func(f figures) float64 { return load.of(f).Rate })
		row("  ack p50, ms", func(f figures) float64 { return load.of(f).P50 })
		row("  ack p99, ms", func(f figures) float64 { return load.of(f).P99 })
		row("  ack max, ms", func(f figures) float64 { return load.of(f).Max })
		row("  host's CPU, µs a message", func(f figures) float64 { return load.of(f).CPU })
	}
	row("host's memory: at rest, MiB", func(f figures) float64 { return f.RestMiB })
	row("  peak, MiB", func(f figures) float64 { return f.PeakMiB })
	row("disk: 4 KiB synced p50, ms", func(f figures) float64 { return f.Disk.P50 })
	row("  p99, ms", func(f figures) float64 { return f.Disk.P99 })
	others := func(f figures) float64 { return f.Others }
	fmt.Fprintf(w, "  %-28s %24s %24s\n", "other programs, cores", spreadOf(o.of("base", others)), spreadOf(o.of("this", others)))
	fmt.Fprintln(w)
	for _, r := range o.ratios() {
		fmt.Fprintf(w, "  %-28s %s of the base's\n", r.name, r.of)
	}
	fmt.Fprintln(w)
}

// keep writes all of it to BENCH_OUT.
func (o *comparison) keep(b *testing.B) {
	b.Helper()
	file := os.Getenv("BENCH_OUT")
	if file == "" {
		return
	}
	text, err := json.MarshalIndent(o, "", "  ")
	if err == nil {
		err = os.WriteFile(file, append(text, '\n'), 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
}
