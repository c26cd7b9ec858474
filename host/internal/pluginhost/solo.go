package pluginhost

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"

	"balhost/host/internal/pluginhost/artefact"
	"balhost/host/internal/pluginhost/process"
)

// Solo is one plugin's file or folder outside of a host: it is vetted, staged and started
// as a host does it, and whoever made the Solo drives its processes.
type Solo struct {
	Name   string // the plugin's
	SHA256 string // of its content, in hex

	options PluginOptions
	store   *artefact.Store
	parent  *process.Parent
}

// Process is process's.
type Process = process.Process

// OpenSolo vets and stages a file or folder into a data folder that nobody else uses. Only
// Options, Bounds and Log of o count, and Plugin is asked for the options.
func OpenSolo(path, dataDir string, o Options) (*Solo, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", path, err)
	}
	dir, name := filepath.Split(path)
	if _, err := os.Lstat(path); err != nil {
		return nil, fmt.Errorf("look at the plugin: %w", err)
	}
	s := &Solo{Name: name, options: o.Plugin(name).filled(), store: artefact.NewStore(dataDir, name)}
	file, err := artefact.Find(dir, name, o.Bounds)
	if err != nil {
		return nil, err
	}
	yard := artefact.Yard{Folder: dir, DataDir: dataDir}
	copied, err := yard.Stage(file, s.store)
	if err != nil {
		return nil, err
	}
	s.SHA256 = copied.SHA256
	if reason := artefact.CheckSum(file, copied.SHA256, s.options.SHA256); reason != "" {
		return nil, errors.Join(artefact.Fault(reason), s.store.Discard(copied))
	}
	if err := s.store.Put(copied); err != nil {
		return nil, err
	}
	s.parent, err = process.Open(dataDir, o.Log)
	return s, err
}

// Unfit says why the program can't be started, as far as its header tells; "": it may.
func (s *Solo) Unfit() string {
	path, _ := s.store.Program(s.SHA256)
	if flaw := artefact.Flaw(path); flaw != "" {
		return flaw
	}
	return artefact.Lack(path)
}

// Program is the staged program, its working folder, and the variables that it gets beside
// the minimal ones.
func (s *Solo) Program() (path, work string, env []string) {
	path, env = program(s.store, s.SHA256, s.options)
	return path, s.store.Work(), env
}

// New makes a process. What it prints goes to log, and Limits are those of a host.
func (s *Solo) New(log hclog.Logger) *Process {
	path, work, env := s.Program()
	limits := usual
	if t := s.options.StartTimeout; t != 0 {
		limits.Handshake, limits.Answer = t, t
	}
	return s.parent.New(path, work, env, process.NewOutput(log, limits.lines), limits.Limits)
}

// Close is for when all processes have ended and are closed.
func (s *Solo) Close() { s.parent.Close() }

// StrangerTLS is process's.
func StrangerTLS() (*tls.Config, error) { return process.StrangerTLS() }
