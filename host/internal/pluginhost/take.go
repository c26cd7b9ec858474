package pluginhost

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"balhost/host/internal/mend"
)

func (s *supervisor) store() store { return s.host.store(s.name) }

// offer says what the folder holds under this name; nil for nothing. It
// doesn't block.
func (s *supervisor) offer(f *file) {
	s.box.put(func() { s.take(f) })
}

// take follows the folder.
func (s *supervisor) take(f *file) {
	s.restage = time.Time{}
	if s.file = f; f != nil {
		s.stage()
		return
	}
	if s.options.KeepRemoved && s.content.sha256 != "" {
		s.log.Warn("plugin's file is gone: it runs on, as on_remove says")
		return
	}
	s.removed = true
}

// stage has the file vetted and copied, which may take long: what comes of it
// comes by the box, unless it was asked for again before.
func (s *supervisor) stage() {
	s.restage = time.Time{}
	s.asked++
	if s.file == nil {
		return
	}
	f, asked := *s.file, s.asked
	s.host.aside.Go(func() {
		draft, err := s.host.stage(f, s.store())
		s.box.put(func() { s.staged(asked, f, draft, err) })
	})
}

// staged takes the file's content, if that is allowed. Of a file that can't be
// taken, what was taken before stays in force.
func (s *supervisor) staged(asked int, f file, draft binary, err error) {
	if asked != s.asked || s.file == nil {
		s.discard(draft)
		return
	}
	if s.forcing {
		s.forcing = false
		s.forget()
	}
	var bin binary
	reason := ""
	if err == nil {
		if reason = checkSum(f, draft.sha256, s.options); reason != "" {
			s.discard(draft)
			s.decline(draft.sha256, reason)
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
		if s.content.sha256 != bin.sha256 && f.loses() != "" {
			s.log.Warn("plugin's file is not run as it is", "err", f.loses())
		}
		s.accept(bin)
		return
	case errors.Is(err, errChanging): // it is offered before, when it has settled
	case refused: // a folder that is mended doesn't change the file
		s.decline("", err.Error())
	default:
		err = mend.With(err)
		s.log.Warn("plugin's file can't be taken yet", "err", err)
		s.why = err.Error()
		s.resume()
	}
	s.restage = time.Now().Add(s.host.limits.rescan)
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

// resume is for a file that can't be taken: what served before does so again, also
// when the host was started anew.
func (s *supervisor) resume() {
	if s.removed { // its end has been seen to already
		s.removed, s.left, s.content, s.record, s.good = false, false, binary{}, record{}, nil
	}
	if s.content.sha256 == "" {
		if v, ok := s.fallback(version{options: s.options, print: s.print}); ok {
			s.log.Warn("what was proven last is started, since the plugin's file can't be taken", "sha256", v.bin.sha256[:12])
			s.content = v.bin
		}
	}
	s.told = s.told || s.content.sha256 == "" // else the boot waits for what it says of itself
}

// copyOf finds the private copy of a content. One that a power cut or anything else
// has damaged is removed; what was read once is not read again until it changes.
func (s *supervisor) copyOf(sha256 string) (binary, bool) {
	now, ok := s.store().look(sha256)
	if !ok {
		return binary{}, false
	}
	b := binary{path: now.real, sha256: sha256}
	if s.whole[sha256] == now {
		return b, true
	}
	if sum, err := sumFile(b.path); err != nil || sum != sha256 {
		s.log.Error("copy of a plugin's content is damaged: removed", "sha256", sha256, "err", errors.Join(err, os.Remove(b.path)))
		return binary{}, false
	}
	s.whole[sha256] = now
	return b, true
}

// accept makes a content the one that should run.
func (s *supervisor) accept(bin binary) {
	changed := bin.sha256 != s.content.sha256 || s.removed
	s.host.complain(s.name, "")
	s.declined, s.removed, s.left, s.content = "", false, false, bin
	if changed {
		s.failures, s.retry = 0, time.Time{} // another content doesn't wait for the backoff of the old one
	}
	if s.record.Pin != nil && s.record.Pin.Instead != bin.sha256 {
		s.record.Pin = nil
	}
	s.remember()
	s.clear()
	if why, refused := s.record.refusal(version{bin: bin, print: s.print}); refused {
		s.why = why.Reason
		s.blame(Refusal{SHA256: why.SHA256, Reason: why.Reason, At: why.At, Tried: true})
		s.log.Error("plugin refused until its file changes", "err", why.Reason)
	}
}

// decline leaves the file where it is; what runs goes on.
func (s *supervisor) decline(sha256, reason string) {
	s.resume()
	if s.declined == reason {
		return // said before
	}
	s.declined = reason
	s.blame(Refusal{SHA256: sha256, Reason: reason, At: time.Now()})
	if s.host.complain(s.name, reason) {
		s.log.Error("plugin's file is not taken", "err", reason)
	}
	s.remember()
}
