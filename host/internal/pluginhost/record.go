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

	"balhost/host/internal/pluginhost/policy"
)

// fingerprint is the same for the same options, over restarts of the host too.
func fingerprint(o PluginOptions) string {
	text, err := json.Marshal(o)
	if err != nil {
		panic("plugin options that are no JSON: " + err.Error()) // config has made the JSON in it
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

const recordName = "record.json"

func (s store) recordFile() string { return filepath.Join(s.dir, recordName) }

// load reads the record. One that is missing or spoilt is empty: all that is
// lost is the way back.
func (s store) load() (r policy.Record, err error) {
	text, err := os.ReadFile(s.recordFile())
	if errors.Is(err, fs.ErrNotExist) {
		return policy.Record{}, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return policy.Record{}, fmt.Errorf("read plugin's record: %w", err)
	}
	return r, nil
}

// save writes the record, at once or not at all; it and the names of the copies
// are on disk when it returns.
func (s store) save(r policy.Record) error {
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

// copyPath is where the copy of a content lies.
func (s store) copyPath(sha256 string) string { return filepath.Join(s.dir, sha256) }

// look tells what can be told of a content's copy without reading it; ok is false
// when there is none.
func (s store) look(sha256 string) (f file, ok bool) {
	info, err := os.Lstat(s.copyPath(sha256))
	if !copyName.MatchString(sha256) || err != nil || !info.Mode().IsRegular() { // the record may be edited
		return f, false
	}
	return describe(sha256, s.copyPath(sha256), info), true
}
