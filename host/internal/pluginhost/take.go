package pluginhost

import (
	"errors"
	"time"
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
	if s.options.KeepRemoved {
		s.log.Warn("plugin's file is gone: it runs on, as on_remove says")
		return
	}
	s.removed = true
}

// stage takes the file's content: it is vetted, copied and compared. Of a file
// that can't be taken, what was taken before stays in force.
func (s *supervisor) stage() {
	s.restage = time.Time{}
	if s.file == nil {
		return
	}
	f := *s.file
	if reason := vet(f, s.host.o.Dir); reason != "" {
		s.decline("", reason)
		s.restage = time.Now().Add(s.host.limits.rescan) // a folder that is mended doesn't change the file
		return
	}
	bin, err := s.host.stage(f, s.store())
	switch {
	case errors.Is(err, errChanging):
		s.restage = time.Now().Add(s.host.limits.rescan) // it is offered before, when it has settled
		return
	case err != nil:
		s.log.Warn("plugin's file can't be taken yet", "err", err)
		s.why, s.told = err.Error(), true
		s.restage = time.Now().Add(s.host.limits.rescan)
		return
	}
	if reason := checkSum(f, bin.sha256, s.options); reason != "" {
		s.decline(bin.sha256, reason)
		return
	}
	s.accept(bin)
}

// accept makes a content the one that should run.
func (s *supervisor) accept(bin binary) {
	changed := bin.sha256 != s.content.sha256 || s.removed
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
	if s.told = true; s.declined == reason {
		return // said before
	}
	s.declined = reason
	s.blame(Refusal{SHA256: sha256, Reason: reason, At: time.Now()})
	s.log.Error("plugin's file is not taken", "err", reason)
	s.remember()
}
