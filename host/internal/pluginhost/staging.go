package pluginhost

import (
	"errors"

	"balhost/host/internal/mend"
	"balhost/host/internal/pluginhost/artefact"
)

// offer says what the folder holds under this name; nil for nothing. It
// doesn't block.
func (s *supervisor) offer(f *artefact.File) {
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
		var draft artefact.Copy
		leave, err := s.host.enter(s.host.copying, s.host.stopping)
		if err == nil {
			draft, err = s.host.yard.Stage(f, s.store)
			leave()
		}
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
func (s *supervisor) staged(f artefact.File, draft artefact.Copy, err error) {
	if err == nil {
		if reason := artefact.CheckSum(f, draft.SHA256, s.policy.Options.SHA256); reason != "" {
			s.discard(draft)
			s.policy.Decline(s.facts(), draft.SHA256, reason)
			return
		}
		err = s.store.Put(draft)
	}
	_, fault := errors.AsType[artefact.Fault](err)
	switch {
	case err == nil:
		s.host.aside.Go(func() { // while it is started: a power cut should not cost the way back
			if err := s.store.Sync(draft.SHA256); err != nil {
				s.log.Warn("copy of a plugin's content may not outlive a power cut", "err", err)
			}
		})
		s.host.complain(s.name, "")
		if other, lost := s.policy.Staged(draft.SHA256), f.Loses(); other && lost != "" {
			s.log.Warn("plugin's file is not run as it is", "err", lost)
		}
		return
	case errors.Is(err, artefact.ErrChanging): // it is offered before, when it is stable
	case fault: // a folder that is mended doesn't change the file
		s.policy.Decline(s.facts(), "", err.Error())
	default:
		err = mend.With(err)
		s.log.Warn("plugin's file can't be taken yet", "err", err)
		s.policy.Delay(s.facts(), err.Error())
	}
	s.policy.Restage(s.facts().Now.Add(s.host.limits.rescan))
}

func (s *supervisor) discard(draft artefact.Copy) {
	if err := s.store.Discard(draft); err != nil {
		s.log.Warn("copy of a file that is not taken stays", "err", err)
	}
}
