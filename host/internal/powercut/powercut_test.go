package powercut

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

const (
	ledgerDir  = "host/internal/ledger/"
	stateDir   = "host/internal/state/"
	journalDir = "host/internal/journal/"
)

// small changes sizes and times of the ledger that Options.Sizes does not have, so that
// compactions and purges go on all the time. It also gives a stop enough time to inspect
// what the cuts in it have left.
var small = []Change{
	{stateDir + "badger.go", "WithCompactL0OnClose(false)", "WithBaseTableSize(256 << 10).WithBaseLevelSize(1 << 20).WithCompactL0OnClose(false)"},
	{ledgerDir + "tidy.go", "= time.Minute\n", "= 100 * time.Millisecond\n"},
	{ledgerDir + "tidy.go", "= 10 * time.Minute\n", "= 300 * time.Millisecond\n"},
	{ledgerDir + "tidy.go", "= 64 << 20 ", "= 1 << 20 "},
	{ledgerDir + "ledger.go", "closeTime = 20 * time.Second", "closeTime = time.Hour"},
	{ledgerDir + "stall.go", "age > commitLimit", "age > time.Hour+commitLimit"},
}

// teeth are faults that the series must find. Each is a change of one text in the
// sources.
var teeth = []struct {
	name   string
	series string // which test finds it
	fault  Change
}{
	{"a sync left out", "TestCuts", Change{journalDir + "append.go", "if err := s.f.sync(); err != nil {", "if err := error(nil); err != nil {"}},
	{"a segment freed too early", "TestCuts", Change{stateDir + "write.go", "if durable < s.mark.version {", "if false {"}},
	{"a stale frame taken", "TestCuts", Change{journalDir + "frame.go", "|| binary.LittleEndian.Uint64(b) != c.generation {", "{"}},
	{"memtable logs trusted", "TestCuts", Change{stateDir + "badger.go", "if found == o.Schema {", "if found == o.Schema && false {"}},
	{"a restored ledger before its journal", "TestRestoreCuts", Change{ledgerDir + "restore.go", "	err = beginJournal(j, commit, counters)\n", "	err = cmp.Or(os.Rename(o.restoring(), o.db()), beginJournal(j, commit, counters), os.Rename(o.db(), o.restoring()))\n"}},
	{"a backup's name before its bytes", "TestRestoreCuts", Change{"host/internal/backup/file.go", "f.part.Sync(), f.part.Close()", "f.part.Close()"}},
	{"a new key before its files", "TestRekeyCuts", Change{ledgerDir + "rekey.go", "	at := state.Options{", "	if err := o.mark(); err != nil {\n		return err\n	}\n	at := state.Options{"}},
	{"a new schema before its tables", "TestUpgradeCuts", Change{stateDir + "upgrade.go", "	err = db.Update(", "	err = setSchema(o.Dir, o.Schema)\n	err = db.Update("}},
}

var bite = flag.Bool("teeth", false, "TestTeeth builds each fault and runs it")

// TestPowercut builds the series with the layer and runs it. It makes some cuts, or as
// many as make powercut says.
func TestPowercut(t *testing.T) {
	needsLayer(t)
	if out, err := runSeries(t, "TestLayer|TestUpgradeCuts|TestRestoreCuts|TestRekeyCuts|TestCuts", small); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestTeeth: the series finds each fault.
func TestTeeth(t *testing.T) {
	for _, tooth := range teeth {
		t.Run(tooth.name, func(t *testing.T) {
			changes := append(small[:len(small):len(small)], tooth.fault)
			if _, err := overlay("../../..", t.TempDir(), changes); err != nil {
				t.Fatal(err) // the text is not in the source any more
			}
			if !*bite {
				return
			}
			needsLayer(t)
			out, err := runSeries(t, tooth.series, changes)
			if err == nil || !strings.Contains(out, "FAIL at cut ") {
				t.Fatalf("was not found in %d cuts: %v\n%s", *cuts, err, out)
			}
			_, found, _ := strings.Cut(out, "FAIL ")
			t.Logf("found %.400s", found)
		})
	}
}

func needsLayer(t *testing.T) {
	t.Helper()
	if testing.Short() || runtime.GOOS != "linux" {
		t.Skip("builds Go's own packages anew, for Linux")
	}
}

// runSeries builds the tests with the layer and the changes, runs some of them, and
// returns their output.
func runSeries(t *testing.T, tests string, changes []Change) (string, error) {
	t.Helper()
	dir, err := os.MkdirTemp("", "powercut")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "series.test")
	if err := Build("../../..", program, "./host/internal/powercut", changes...); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run", "^("+tests+")$", "-test.timeout", "0",
		"-cuts", fmt.Sprint(*cuts), "-seed", fmt.Sprint(*seed), "-names", *names, "-within", dir)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		line, n := lines.Text(), 0
		if _, err := fmt.Sscanf(line, "cut %d:", &n); err != nil {
			if out.WriteString(line + "\n"); strings.Contains(line, " cuts") {
				t.Log(line)
			}
		} else if n%100 == 0 {
			t.Log(line)
		}
	}
	if err := cmd.Wait(); err != nil {
		return out.String(), fmt.Errorf("%w; it is left in %s", err, dir)
	}
	return out.String(), os.RemoveAll(dir)
}

// The source of an unknown Go version is refused.
func TestChangeRefuses(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.go")
	for text, n := range map[string]string{"none": "0 times", "this this": "2 times"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := (copies{}).change(name, "this", "that"); err == nil || !strings.Contains(err.Error(), n) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
