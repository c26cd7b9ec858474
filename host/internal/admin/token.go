package admin

import (
	"crypto/sha256"
	"crypto/subtle"
)

// Token lets whoever has it use the API.
type Token struct {
	Name   string // for the audit log; "": the only one without a name
	Role   Role
	Secret string
}

func noTokens() []Token { return nil }

// sum stands for a secret: all sums have one length, so the time to compare two reveals nothing.
type sum [sha256.Size]byte

func sumOf(secret string) sum { return sha256.Sum256([]byte(secret)) }

// tokenOf is the token with that secret. It compares with all of them, so that the time
// does not say which is near.
func tokenOf(tokens []Token, secret sum) (token Token, ok bool) {
	for _, t := range tokens {
		if s := sumOf(t.Secret); subtle.ConstantTimeCompare(s[:], secret[:]) == 1 {
			token, ok = t, true
		}
	}
	return token, ok
}
