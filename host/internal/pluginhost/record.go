package pluginhost

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// version is what can run: a content with its options. Two are the same when
// nothing about a process would differ.
type version struct {
	bin     binary
	options PluginOptions
	print   string // of the options
	forced  int    // how often a person has asked for it to start anew
}

func (v version) same(w version) bool {
	return v.bin.sha256 == w.bin.sha256 && v.print == w.print && v.forced == w.forced
}

// fingerprint is the same for the same options, over restarts of the host too.
func fingerprint(o PluginOptions) string {
	text, err := json.Marshal(o)
	if err != nil {
		panic("plugin options that are no JSON: " + err.Error()) // config has made the JSON in it
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// record is what is remembered of a plugin's contents, over restarts too.
type record struct {
	// Proven are the contents that have passed their probation, or were the
	// first ones; the one that served last comes last.
	Proven []string `json:"proven,omitempty"`
	// Refused are contents that are not tried again with these options.
	Refused []refused `json:"refused,omitempty"`
	// Pin is a rollback that a person asked for.
	Pin *pin `json:"pin,omitempty"`
}

// refused is a content that did not pass, or was rolled back.
type refused struct {
	SHA256  string    `json:"sha256"`
	Options string    `json:"options"` // fingerprint
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
}

// pin lets To serve as long as the file holds Instead.
type pin struct {
	To      string `json:"to"`
	Instead string `json:"instead"`
}

// keptRefusals bounds the record.
const keptRefusals = 20

func (r *record) empty() bool { return r.Proven == nil && r.Refused == nil && r.Pin == nil }

func (r *record) prove(sha256 string) {
	r.Proven = slices.DeleteFunc(r.Proven, func(s string) bool { return s == sha256 })
	r.Proven = append(r.Proven, sha256)
	r.Proven = r.Proven[max(0, len(r.Proven)-keptCopies):]
}

func (r *record) proven(sha256 string) bool { return slices.Contains(r.Proven, sha256) }

func (r *record) refuse(v version, reason string, at time.Time) {
	r.Refused = append(r.Refused, refused{SHA256: v.bin.sha256, Options: v.print, Reason: reason, At: at})
	r.Refused = r.Refused[max(0, len(r.Refused)-keptRefusals):]
}

// refusal finds why v is not tried again; ok is false when it may be.
func (r *record) refusal(v version) (why refused, ok bool) {
	for _, why := range r.Refused {
		if why.SHA256 == v.bin.sha256 && why.Options == v.print {
			return why, true
		}
	}
	return why, false
}

// pinned is what serves in place of the file's content; "" for nothing.
func (r *record) pinned(content string) string {
	if r.Pin == nil || r.Pin.Instead != content {
		return ""
	}
	return r.Pin.To
}

const recordName = "record.json"

func (s store) recordFile() string { return filepath.Join(s.dir, recordName) }

// load reads the record. One that is missing or spoilt is empty: all that is
// lost is the way back.
func (s store) load() (r record, err error) {
	text, err := os.ReadFile(s.recordFile())
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return record{}, fmt.Errorf("read plugin's record: %w", err)
	}
	return r, nil
}

// save writes the record, at once or not at all; it and the names of the copies
// are on disk when it returns.
func (s store) save(r record) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("write plugin's record: %w", err)
	}
	if err := s.make(); err != nil {
		return err
	}
	tmp, err := os.Create(filepath.Join(s.dir, stagingPrefix+"record"))
	if err != nil {
		return fmt.Errorf("write plugin's record: %w", err)
	}
	_, err = tmp.Write(text)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("write plugin's record: %w", err)
	}
	if err := os.Rename(tmp.Name(), s.recordFile()); err != nil {
		return fmt.Errorf("write plugin's record: %w", err)
	}
	if err := syncFile(s.dir); err != nil {
		return fmt.Errorf("write plugin's record: %w", err)
	}
	return nil
}

// look tells what can be told of a content's copy without reading it; ok is false
// when there is none.
func (s store) look(sha256 string) (f file, ok bool) {
	path := filepath.Join(s.dir, sha256)
	info, err := os.Lstat(path)
	if !copyName.MatchString(sha256) || err != nil || !info.Mode().IsRegular() { // the record may be edited
		return f, false
	}
	return describe(sha256, path, info), true
}
