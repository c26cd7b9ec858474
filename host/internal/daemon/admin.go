package daemon

import (
	"fmt"
	"slices"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/config"
)

// adminFiles are the files of the API's certificate.
func adminFiles(a config.Admin) admin.TLS {
	return admin.TLS{CertFile: a.CertFile, KeyFile: a.KeyFile, ClientCAFile: a.ClientCAFile}
}

// certificate is when the API's certificate ends, and what is wrong with it.
func (h *host) certificate(now time.Time) (until time.Time, warnings []string) {
	if h.api == nil { // it is opened last
		return until, nil
	}
	return h.api.Certificate(now)
}

func (h *host) certificateWarnings() []string {
	_, warnings := h.certificate(time.Now())
	return warnings
}

// tokens are those that the API takes now.
func (h *host) tokens() []admin.Token {
	a := h.config().Admin
	var all []admin.Token
	if a.Token != "" {
		all = append(all, admin.Token{Role: admin.Admin, Secret: a.Token.Reveal()})
	}
	for _, t := range a.Tokens {
		role, err := admin.ParseRole(t.Role)
		if err != nil { // config allows no other word
			panic(fmt.Sprintf("token %q: %v", t.Name, err))
		}
		all = append(all, admin.Token{Name: t.Name, Role: role, Secret: t.Secret.Reveal()})
	}
	return all
}

// tokensChanged says what a reload does to the tokens of the API.
func tokensChanged(before, now config.Admin) (changed []string) {
	if before.Token != now.Token {
		changed = append(changed, "the admin token is "+difference(before.Token != "", now.Token != ""))
	}
	named := func(tokens []config.Token, name string) (config.Token, bool) {
		i := slices.IndexFunc(tokens, func(t config.Token) bool { return t.Name == name })
		if i < 0 {
			return config.Token{}, false
		}
		return tokens[i], true
	}
	for _, t := range before.Tokens {
		if _, stays := named(now.Tokens, t.Name); !stays {
			changed = append(changed, fmt.Sprintf("the admin token %q is %s", t.Name, difference(true, false)))
		}
	}
	for _, t := range now.Tokens {
		if old, was := named(before.Tokens, t.Name); old != t {
			changed = append(changed, fmt.Sprintf("the admin token %q is %s", t.Name, difference(was, true)))
		}
	}
	return changed
}

// difference says what became of something that was there before, or is there now.
func difference(before, now bool) string {
	switch {
	case !before:
		return "added"
	case !now:
		return "removed"
	}
	return "another one"
}
