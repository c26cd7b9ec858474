package flow

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what comes out into the transcripts")

// The transcripts in testdata say what a trial answers, and in which state it is
// then. A line "== title" begins with a new trial. In the others stands when, what
// happens, and behind the bar what comes of it. A suspect or a probe that the trial
// lets go is sent.
func TestTranscripts(t *testing.T) { // P10
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got := replay(t, string(want))
		if *update {
			err = os.WriteFile(file, []byte(got), 0o644)
		} else if got != string(want) {
			err = fmt.Errorf("%s says\n%s\nbut what comes out is\n%s", file, want, got)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// replay does what a transcript says, and returns it with what came out.
func replay(t *testing.T, transcript string) string {
	var out strings.Builder
	var trial Trial
	accusations := map[string]*Accusation{}
	for line := range strings.Lines(transcript) {
		line = strings.TrimSuffix(line, "\n")
		did, _, found := strings.Cut(line, "|")
		switch {
		case strings.HasPrefix(line, "=="):
			trial = Trial{}
			clear(accusations)
		case found:
			line = fmt.Sprintf("%-44s| %s", strings.TrimRight(did, " "), step(t, &trial, accusations, strings.Fields(did)))
		}
		fmt.Fprintln(&out, line)
	}
	return out.String()
}

// step does what one line says, and returns what comes of it.
func step(t *testing.T, trial *Trial, accusations map[string]*Accusation, words []string) string {
	passed, err := time.ParseDuration(words[0])
	if err != nil || len(words) < 2 {
		t.Fatalf("%q: want a time and what happens: %v", words, err)
	}
	now, rest := t0.Add(passed), words[2:]
	number := func(i int) uint64 {
		n, err := strconv.ParseUint(strings.Join(rest[i:i+1], ""), 10, 64)
		if err != nil {
			t.Fatalf("%q: %v", words, err)
		}
		return n
	}
	answer := ""
	say := func(yes bool, then string) {
		if yes {
			answer = then + ", "
		}
	}
	switch words[1] {
	case "ask":
		next := trial.Next(now, Asking{
			Conn: int(number(0)), Empty: slices.Contains(rest, "empty"), Others: slices.Contains(rest, "others"), Suspects: slices.Contains(rest, "suspect"),
		})
		if next == Suspect || next == Probe {
			trial.Sent(now, 7, int(number(0)))
		}
		say(true, map[Next]string{Nothing: "nothing", Others: "others", Suspect: "the suspect", Probe: "a probe"}[next])
	case "left":
		trial.Left(now, number(0))
	case "isolated":
		trial.Isolated(now)
	case "nacked":
		trial.Answered()
		trial.Vouched(now, trial.Refusals())
	case "accused":
		over := &Accusation{}
		if len(rest) > 0 {
			over = cmp.Or(accusations[rest[0]], over)
			accusations[rest[0]] = over
		}
		account := trial.Accused(now, over)
		say(account, "the account")
		say(!account, "the message")
	case "halt":
		say(!trial.Halt(now, now.Add(5*time.Minute)), "halted before")
	case "lift":
		say(!trial.Lift(), "no halt")
	case "acked":
		refusals := trial.Refusals()
		if slices.Contains(rest, "early") {
			refusals--
		}
		say(trial.Acked(now, refusals), "taken again")
		trial.Left(now, number(0))
	case "tick":
		trial.Tick(now)
	default:
		t.Fatalf("%q is nothing that happens", words[1])
	}
	answer += [...]string{"idle", "waiting", "alone", "owed", "pause", "halted", "probe due", "probe sent"}[trial.State()]
	if until := trial.Until(); !until.IsZero() {
		answer += " until " + until.Sub(t0).String()
	}
	return answer
}

// A suspicion counts what the connections of one downstream tell. // P10
func TestSuspicion(t *testing.T) {
	garbled := End{Fault: Bytes, Why: "not-well-formed"}
	var s Suspicion
	for i, step := range []struct {
		name    string
		end     End
		only    bool
		answers uint64
		suspect bool // from here on
		want    Loss
	}{
		{"the first loss", garbled, false, 10, true, Loss{End: garbled, Times: 1}},
		{"nothing else was answered since", garbled, true, 10, true, Loss{End: garbled, Times: 2, Suspect: true, Only: true}},
		{"others were", garbled, true, 12, true, Loss{End: garbled, Times: 3, Suspect: true, Only: true, Compared: true, Ever: true, Proofs: 1}},
		{"we ended it ourselves", End{Fault: Ours}, true, 13, true, Loss{End: End{Fault: Ours}, Times: 3, Suspect: true}},
		{"not alone", garbled, false, 12, true, Loss{End: garbled, Times: 4, Suspect: true, Ever: true, Proofs: 1}},
		{"alone again", garbled, true, 14, true, Loss{End: garbled, Times: 5, Suspect: true, Only: true, Compared: true, Ever: true, Proofs: 2}},
	} {
		if got := s.Lose(step.end, step.only, step.answers); got != step.want {
			t.Errorf("%d, %s: %+v, want %+v", i, step.name, got, step.want)
		}
		s.Suspect = step.suspect
	}
}
