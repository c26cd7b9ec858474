// Package credential says who a device is. It checks what the device shows against the
// rules that config.hcl has: a JWT, a Firebase ID token, an HMAC signature, or one shared
// token; an App Check token on top. It is pure: keys and the time are given to it. It
// keeps the gateway's half of P10 that nobody sends in another device's name. Secrets and
// tokens are in no error. Start at [Rule].
package credential

import "balhost/host/internal/secret"

// Kind is what a rule accepts.
type Kind string

// The kinds of rule. Spec: fcm-v1-and-gateway.md C4.
const (
	Static   Kind = "static"   // one token for all devices; from is free, so it is for development
	JWT      Kind = "jwt"      // signed by the operator's own login
	Firebase Kind = "firebase" // an ID token of Firebase Auth
	HMAC     Kind = "hmac"     // each request is signed with the device's own secret
)

// Rule is one auth block.
type Rule struct {
	Kind          Kind
	Insecure      bool                   // static: also where others than this machine connect
	Token         secret.Text            // static
	JWKS          string                 // jwt: absolute path of a file, or an https URL; firebase: "" is Google's own
	Issuer        string                 // jwt: what iss must be; "": anything
	Audience      string                 // jwt: what aud must contain; "": anything
	FromClaim     string                 // jwt: the claim that is from; "sub"
	CategoryClaim string                 // jwt: the claim that is category; "": the device says it
	Project       string                 // firebase: the project id
	Master        secret.Text            // hmac: a device's secret is HMAC-SHA256(Master, its key name)
	Secrets       map[string]secret.Text // hmac: secrets by key name, instead of Master
	AppCheck      *AppCheck              // nil: not needed
}

// AppCheck is what an App Check token must say. It attests the app, not the device: alone
// it is never enough.
type AppCheck struct {
	ProjectNumber string
	Apps          []string // app ids that may call; none: every app of the project
	JWKS          string   // "" is Google's own
}
