package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
	"balhost/host/internal/backup"
	"balhost/host/internal/entry"
	"balhost/host/internal/plain"
)

func deadExportCommand(where *clientFlags) *cobra.Command {
	var (
		filter        deadFilter
		force, asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "export FILE",
		Short: "Write dead letters with their payloads to a file, one a line, as JSON",
		Long: `Writes dead letters whole: all, or those that a filter selects. They stay in the host.
The file is FILE.part until it is complete and on disk. With - the letters go to
standard output. balhost dead import puts them back, here or in another host.

The file has messages of devices and their whole tokens: protect it like data_dir.`,
		Example: "  balhost dead export --plugin orders letters.jsonl\n  balhost dead export - | jq -r 'select(.category == \"com.example.orders\").raw.data'",
		Args:    arguments(1, 1),
		PreRunE: func(*cobra.Command, []string) error { return filter.check() },
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, args []string) error {
			path := args[0]
			if _, err := os.Lstat(path); path != "-" && err == nil && !force {
				return fmt.Errorf("%s exists: give another name, or use --force to replace it", path)
			}
			n, err := exportDead(cmd, client, filter.DeadFilter, path)
			if err != nil {
				return err
			}
			if path == "-" {
				_, err := fmt.Fprintf(cmd.ErrOrStderr(), "exported %d\n", n)
				return err
			}
			return printDone(cmd, asJSON, map[string]any{"file": path, "exported": n}, fmt.Sprintf("exported %d to %s", n, path))
		}),
	}
	filter.add(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "replace FILE if it exists")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what was done as JSON")
	return cmd
}

// exportDead writes the letters to path, or to standard output.
func exportDead(cmd *cobra.Command, client *admin.Client, f entry.DeadFilter, path string) (n int, err error) {
	if path == "-" {
		return writeLetters(cmd, client, f, cmd.OutOrStdout())
	}
	file, err := backup.Create(path)
	if err != nil {
		return 0, err
	}
	buffered := bufio.NewWriterSize(file, 256<<10)
	n, err = writeLetters(cmd, client, f, buffered)
	if err = errors.Join(err, buffered.Flush()); err != nil {
		return 0, errors.Join(err, file.Drop())
	}
	return n, file.Keep()
}

// writeLetters writes one letter a line.
func writeLetters(cmd *cobra.Command, client *admin.Client, f entry.DeadFilter, to io.Writer) (n int, err error) {
	show := statusLine(cmd)
	defer show("")
	lines := json.NewEncoder(plain.Writer{W: to})
	lines.SetEscapeHTML(false)
	for q := (admin.DeadQuery{DeadFilter: f, Limit: 1000}); ; {
		page, err := client.ExportDead(cmd.Context(), q)
		if err != nil {
			return n, err
		}
		for _, letter := range page.Letters {
			if err := lines.Encode(letter); err != nil {
				return n, err
			}
			n++
		}
		show(fmt.Sprintf("exported %d", n))
		if q.After = page.Next; q.After == "" {
			return n, nil
		}
	}
}

func deadImportCommand(where *clientFlags) *cobra.Command {
	var skipBad, asJSON bool
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Put exported dead letters back as dead letters",
		Long: `Reads a file of balhost dead export, also of another host, and makes its letters dead
letters here, with their reasons, attempts and times. Nothing is handled again
before balhost dead replay, which takes them in the file's order. - reads standard input.

A letter that is here already is skipped and counted, so an import may be repeated.
Lines that can't be imported are named by their numbers; then nothing is imported,
unless --skip-bad says to leave them out. In the file you may change plugin, reason,
attempts and died, and remove lines.

A letter belongs to its sender_id. If this host has a session with that sender_id, it is
the letter's, whatever its name. If it has none, the letter is imported all the same, and
its plugin sees the sender_id as the session's name.`,
		Example: "  balhost dead import letters.jsonl\n  ssh other balhost dead export --plugin orders - | balhost dead import -",
		Args:    arguments(1, 1),
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, args []string) error {
			file, err := openLetters(cmd, args[0])
			if err != nil {
				return err
			}
			defer file.Close()
			i := importing{client: client, file: file, order: admin.ImportOrder{Check: true}, show: statusLine(cmd)}
			defer i.show("")
			if err := i.run(cmd.Context()); err != nil {
				return err
			}
			if len(i.bad) > 0 && !skipBad {
				return fmt.Errorf("nothing is imported, because of %s:\n%s\nmend them, or add --skip-bad to import the others", count(len(i.bad), "line", "lines"), i.badLines())
			}
			i.order = admin.ImportOrder{SkipBad: skipBad}
			if err := i.run(cmd.Context()); err != nil {
				return fmt.Errorf("imported %d, then: %w; import the file again for the others", i.did.Done, err)
			}
			return i.tell(cmd, asJSON)
		}),
	}
	cmd.Flags().BoolVar(&skipBad, "skip-bad", false, "leave out lines that can't be imported")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// openLetters opens a file that can be read twice. Standard input is copied to one first.
func openLetters(cmd *cobra.Command, path string) (*os.File, error) {
	if path != "-" {
		return os.Open(path)
	}
	file, err := os.CreateTemp("", "balhost-letters")
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(file, cmd.InOrStdin())
	if err = errors.Join(err, os.Remove(file.Name())); err != nil {
		file.Close()
		return nil, fmt.Errorf("copy standard input: %w", err)
	}
	return file, nil
}

// importing is one or two passes over a file of letters: the first checks.
type importing struct {
	client *admin.Client
	file   *os.File
	order  admin.ImportOrder
	show   func(string)

	did  admin.Imported
	bad  []badLine
	part []entry.Exported
	at   []int // their lines
	size int
}

type badLine struct {
	number int
	reason string
}

const (
	maxLine  = 12 << 20 // bytes of one line
	partSize = 1 << 20  // bytes of the lines that are sent at once, about
)

// run goes over the file once.
func (i *importing) run(ctx context.Context) error {
	i.did, i.bad = admin.Imported{}, nil
	if _, err := i.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read the letters: %w", err)
	}
	lines := bufio.NewScanner(i.file)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	number := 0
	for lines.Scan() {
		number++
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		var letter entry.Exported
		if err := json.Unmarshal(line, &letter); err != nil {
			i.bad = append(i.bad, badLine{number, fmt.Sprintf("it is no letter: %v", err)})
			continue
		}
		if len(i.part) > 0 && (i.size+len(line) > partSize || len(i.part) == 1000) {
			if err := i.send(ctx); err != nil {
				return err
			}
		}
		i.part, i.at, i.size = append(i.part, letter), append(i.at, number), i.size+len(line)
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("line %d is longer than %d MiB, and no letter is: is this a file of balhost dead export, one letter a line?", number+1, maxLine>>20)
	} else if err != nil {
		return fmt.Errorf("read line %d: %w", number+1, err)
	}
	return i.send(ctx)
}

// send gives the host the letters that were read since the last time.
func (i *importing) send(ctx context.Context) error {
	if len(i.part) == 0 {
		return nil
	}
	i.order.Letters = i.part
	did, err := i.client.ImportDead(ctx, i.order)
	i.did.Done, i.did.Same = i.did.Done+did.Done, i.did.Same+did.Same
	for _, b := range did.Bad {
		i.bad = append(i.bad, badLine{i.at[b.At], b.Reason})
	}
	for _, id := range did.Strange {
		if !slices.Contains(i.did.Strange, id) {
			i.did.Strange = append(i.did.Strange, id)
		}
	}
	if err == nil && len(did.Bad) > 0 && !i.order.Check && !i.order.SkipBad {
		err = fmt.Errorf("line %d: %s", i.at[did.Bad[0].At], did.Bad[0].Reason)
	}
	verb := "imported"
	if i.order.Check {
		verb = "checked"
	}
	i.show(fmt.Sprintf("%s to line %d", verb, i.at[len(i.at)-1]))
	i.part, i.at, i.size = nil, nil, 0
	return err
}

// badLines names the first lines that can't be imported.
func (i *importing) badLines() string {
	const enough = 20
	var all []string
	slices.SortFunc(i.bad, func(a, b badLine) int { return a.number - b.number })
	for _, b := range i.bad[:min(len(i.bad), enough)] {
		all = append(all, fmt.Sprintf("  line %d: %s", b.number, b.reason))
	}
	if more := len(i.bad) - enough; more > 0 {
		all = append(all, fmt.Sprintf("  and %d more", more))
	}
	return strings.Join(all, "\n")
}

func (i *importing) tell(cmd *cobra.Command, asJSON bool) error {
	if asJSON {
		n := map[string]any{"imported": i.did.Done}
		if i.did.Same > 0 {
			n["same"] = i.did.Same
		}
		if len(i.bad) > 0 {
			n["skipped"] = len(i.bad)
		}
		if len(i.did.Strange) > 0 {
			n["unknown_sender_ids"] = i.did.Strange
		}
		return printJSON(cmd, n)
	}
	out := cmd.OutOrStdout()
	_, err := fmt.Fprintf(out, "imported %d\n", i.did.Done)
	if n := i.did.Same; n > 0 {
		fmt.Fprintf(out, "%d were here already\n", n)
	}
	if len(i.bad) > 0 {
		fmt.Fprintf(out, "%s left out:\n%s\n", count(len(i.bad), "line was", "lines were"), i.badLines())
	}
	if len(i.did.Strange) > 0 {
		fmt.Fprintf(out, "no session here has the sender_id %s: their plugins see it as the session's name\n", strings.Join(i.did.Strange, ", "))
	}
	return err
}
