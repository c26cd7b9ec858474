package pluginhost

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"balhost/host/internal/mend"
)

func (s *supervisor) store() store { return s.host.store(s.name) }

// offer says what the folder holds under this name; nil for nothing. It
// doesn't block.
func (s *supervisor) offer(f *file) {
	s.box.put(func() {
		if s.file = f; f != nil {
			s.stage()
		} else if s.policy.Remove() {
			s.log.Warn("plugin's file is gone: it runs on, as on_remove says")
		}
	})
}

// busy says that the file is still being written; the boot doesn't wait for it.
func (s *supervisor) busy() {
	s.box.put(func() {
		s.log.Warn("plugin's file is still being written: not taken yet")
		s.policy.Busy(s.facts())
	})
}

// stage has the file vetted and copied, which may take long: what comes of it
// comes by the box, unless it was asked for again before.
func (s *supervisor) stage() {
	s.asked++
	if s.file == nil {
		return
	}
	f, asked := *s.file, s.asked
	s.host.aside.Go(func() {
		draft, err := s.host.stage(f, s.store())
		s.box.put(func() {
			if asked != s.asked || s.file == nil {
				s.discard(draft)
				return
			}
			s.staged(f, draft, err)
		})
	})
}

// staged tells the policy what became of the file.
func (s *supervisor) staged(f file, draft binary, err error) {
	var bin binary
	if err == nil {
		if reason := checkSum(f, draft.sha256, s.policy.Options.SHA256); reason != "" {
			s.discard(draft)
			s.policy.Decline(s.facts(), draft.sha256, reason)
			return
		}
		bin, err = s.store().settle(draft)
	}
	_, refused := errors.AsType[refusal](err)
	switch {
	case err == nil:
		s.whole[bin.sha256], _ = s.store().look(bin.sha256) // it was hashed just now
		s.host.aside.Go(func() {                            // while it is started: a power cut should not cost the way back
			if err := syncFile(bin.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				s.log.Warn("copy of a plugin's content may not outlive a power cut", "err", err)
			}
		})
		if lost := f.loses(); lost != "" && !s.policy.Has(bin.sha256) {
			s.log.Warn("plugin's file is not run as it is", "err", lost)
		}
		s.host.complain(s.name, "")
		s.policy.Staged(bin.sha256)
		return
	case errors.Is(err, errChanging): // it is offered before, when it is stable
	case refused: // a folder that is mended doesn't change the file
		s.policy.Decline(s.facts(), "", err.Error())
	default:
		err = mend.With(err)
		s.log.Warn("plugin's file can't be taken yet", "err", err)
		s.policy.Delay(s.facts(), err.Error())
	}
	s.policy.Restage(s.facts().Now.Add(s.host.limits.rescan))
}

// discard removes a copy that is not wanted.
func (s *supervisor) discard(draft binary) {
	if !isDraft(filepath.Base(draft.path)) {
		return // none was made
	}
	if err := removeFile(draft.path); err != nil {
		s.log.Warn("copy of a file that is not taken stays", "err", err)
	}
}

// isWhole reports whether the private copy of a content is there, and whole. One
// that a power cut or anything else has damaged is removed; what was read once is
// not read again until it changes.
func (s *supervisor) isWhole(sha256 string) bool {
	now, ok := s.store().look(sha256)
	if !ok || s.whole[sha256] == now {
		return ok
	}
	if sum, err := sumFile(now.real); err != nil || sum != sha256 {
		s.log.Error("copy of a plugin's content is damaged: removed", "sha256", sha256, "err", errors.Join(err, os.Remove(now.real)))
		return false
	}
	s.whole[sha256] = now
	return true
}
