package page

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	"balhost/host/internal/plain"
)

// Bounds of files of dead letters. Larger ones are for balhost dead import, which keeps none
// of them in memory.
const (
	maxLetters  = 16 << 20 // bytes of a file that is imported
	letterBatch = 1000     // letters at a time
	exportBatch = 1 << 20  // bytes at a time, about
	namedLines  = 5        // of those that are wrong
)

// exportDead answers with the dead letters that the filter finds as a file, as balhost dead
// export writes it.
func (p *Pages) exportDead(w http.ResponseWriter, r *http.Request) {
	filter, err := filterOf(r.URL.Query().Get)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	to := &attachment{w: w, name: "dead-letters-" + time.Now().Format("2006-01-02-1504") + ".jsonl", kind: "application/jsonl"}
	lines := json.NewEncoder(plain.Writer{W: to})
	lines.SetEscapeHTML(false)
	n := 0
	for q := (admin.DeadQuery{DeadFilter: filter, Limit: letterBatch}); ; {
		page, err := p.ExportDead(q, exportBatch)
		for _, letter := range page.Letters {
			if err != nil {
				break
			}
			n, err = n+1, lines.Encode(letter)
		}
		if err != nil {
			to.fail(p, r, err)
			return
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	if n == 0 {
		p.fail(w, r, wrong("no dead letter is like that: there is nothing to save"))
		return
	}
	admin.Did(r, "exported %s", several(n, "dead letter"))
}

// importDead makes the letters of a file dead letters again: all of them, or none if one is
// wrong.
func (p *Pages) importDead(w http.ResponseWriter, r *http.Request) {
	said, err := p.imported(w, r)
	if err != nil {
		said.Text, said.Bad = err.Error(), true
	}
	p.status.forget()
	p.letters.forget()
	putTold(w, r, said)
	http.Redirect(w, r, "/dead", http.StatusSeeOther)
}

func (p *Pages) imported(w http.ResponseWriter, r *http.Request) (told, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxLetters+maxForm)
	if err := r.ParseMultipartForm(maxLetters + maxForm); err != nil {
		if errors.As(err, new(*http.MaxBytesError)) {
			return told{}, wrong(fmt.Sprintf("the file is larger than %d MiB: take balhost dead import", maxLetters>>20))
		}
		return told{}, wrong("the file did not come whole: " + err.Error())
	}
	defer r.MultipartForm.RemoveAll() //nolint:errcheck // it is in memory
	file, _, err := r.FormFile("file")
	if err != nil {
		return told{}, wrong("choose a file, as the export gives it")
	}
	defer file.Close()
	letters, at, err := lettersOf(file)
	if err != nil {
		return told{}, err
	}
	did := admin.Imported{}
	for _, check := range []bool{true, false} {
		did = admin.Imported{}
		for from := 0; from < len(letters); from += letterBatch {
			some, err := p.ImportDead(admin.ImportOrder{Letters: letters[from:min(from+letterBatch, len(letters))], Check: check})
			did.Done, did.Same = did.Done+some.Done, did.Same+some.Same
			if err != nil {
				return told{}, fmt.Errorf("%s imported, then: %w; import the file again for the others", several(did.Done, "dead letter"), err)
			}
			if len(some.Bad) > 0 {
				return told{}, wrong("nothing was imported: " + wrongLines(some.Bad, at[from:]))
			}
		}
	}
	admin.Did(r, "imported %s", several(did.Done, "dead letter"))
	text := several(did.Done, "dead letter") + " imported; nothing is handled before you replay them"
	if did.Same > 0 {
		text += fmt.Sprintf("; %d were here already", did.Same)
	}
	return told{Text: text}, nil
}

// lettersOf reads a file of letters, and the number of each one's line.
func lettersOf(file io.Reader) (letters []entry.Exported, at []int, err error) {
	lines := bufio.NewScanner(file)
	lines.Buffer(make([]byte, 64<<10), maxLetters)
	for number := 1; lines.Scan(); number++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		var letter entry.Exported
		if err := json.Unmarshal(line, &letter); err != nil {
			return nil, nil, wrong(fmt.Sprintf("nothing was imported: line %d is no letter: %v", number, err))
		}
		letters, at = append(letters, letter), append(at, number)
	}
	if err := lines.Err(); err != nil {
		return nil, nil, wrong("the file can't be read: " + err.Error())
	}
	if len(letters) == 0 {
		return nil, nil, wrong("there is no dead letter in the file")
	}
	return letters, at, nil
}

// wrongLines names the first lines that can't be imported.
func wrongLines(bad []entry.WrongLetter, at []int) string {
	var all []string
	for _, b := range bad[:min(len(bad), namedLines)] {
		all = append(all, fmt.Sprintf("line %d: %s", at[b.At], b.Reason))
	}
	if more := len(bad) - namedLines; more > 0 {
		all = append(all, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(all, "; ")
}
