package fcmsim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"balhost/host/internal/plain"
)

// status is the text of google.rpc.Code for an HTTP status.
var status = map[int]string{
	400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
	408: "DEADLINE_EXCEEDED", 409: "ABORTED", 413: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED",
	500: "INTERNAL", 502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}

// detail is one of an error's details. "@type" says what it is.
type detail map[string]any

const types = "type.googleapis.com/"

func fcmError(code string) detail {
	return detail{"@type": types + "google.firebase.fcm.v1.FcmError", "errorCode": code}
}

func apnsError(code int, reason string) detail {
	return detail{"@type": types + "google.firebase.fcm.v1.ApnsError", "statusCode": code, "reason": reason}
}

func errorInfo(reason string, metadata map[string]string) detail {
	return detail{"@type": types + "google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com", "metadata": metadata}
}

func quotaFailure(subject, description string) detail {
	return detail{"@type": types + "google.rpc.QuotaFailure", "violations": []any{map[string]string{"subject": subject, "description": description}}}
}

func badRequest(field, description string) detail {
	return detail{"@type": types + "google.rpc.BadRequest", "fieldViolations": []any{map[string]string{"field": field, "description": description}}}
}

// failure is an error in Google's form.
func failure(code int, message string, details ...detail) Response {
	e := map[string]any{"code": code, "message": message, "status": status[code]}
	if len(details) > 0 {
		e["details"] = details
	}
	body, err := json.MarshalIndent(map[string]any{"error": e}, "", "  ")
	if err != nil {
		panic("fcmsim: " + err.Error()) // only strings and numbers are in it
	}
	return Response{Status: code, Body: string(body) + "\n"}
}

// page is an answer of Google's front end, which speaks HTML.
func page(code int, title string) Response {
	return Response{Status: code, ContentType: "text/html; charset=UTF-8", Body: fmt.Sprintf(`<!DOCTYPE html>
<html lang=en>
  <meta charset=utf-8>
  <title>Error %d (%s)!!1</title>
  <p><b>%d.</b> <ins>That's an error.</ins>
`, code, title, code)}
}

// What FCM answers when it can't or won't take a message. Spec: fcm-v1-and-gateway.md A4, A6.
var (
	// Unregistered: the install has gone, or its address is of the other kind.
	Unregistered = failure(404, "Requested entity was not found.", fcmError("UNREGISTERED"))
	// UnregisteredAPNs is Unregistered for an Apple device, as APNs told FCM.
	UnregisteredAPNs = failure(404, "Requested entity was not found.", apnsError(410, "Unregistered"), fcmError("UNREGISTERED"))
	// NoProject is a 404 in JSON that says nothing of a message.
	NoProject = failure(404, "Requested entity was not found.")
	// NotFound is a 404 of a wrong path, in HTML.
	NotFound = page(404, "Not Found")

	// InvalidField is a fault of the payload that names its field.
	InvalidField = failure(400, "Invalid value at 'message.data[0].value' (TYPE_STRING), 5",
		badRequest("message.data[0].value", "Invalid value at 'message.data[0].value' (TYPE_STRING), 5"))
	// InvalidToken: the token is malformed. It can't be told from a fault of the payload.
	InvalidToken = failure(400, "The registration token is not a valid FCM registration token", fcmError("INVALID_ARGUMENT"))
	// TooBig: the payload is over the limit.
	TooBig = failure(400, "Android message is too big", fcmError("INVALID_ARGUMENT"))
	// Unspecified is a 400 with FCM's code for "no more is known".
	Unspecified = failure(400, "Request contains an invalid argument.", fcmError("UNSPECIFIED_ERROR"))
	// UnknownCode is a 400 with a code that no client knows yet.
	UnknownCode = failure(400, "The message was not liked.", fcmError("MESSAGE_NOT_LIKED"))

	// SenderIDMismatch: the token belongs to another project.
	SenderIDMismatch = failure(403, "SenderId mismatch", fcmError("SENDER_ID_MISMATCH"))
	// PermissionDenied: the account may not send for the project.
	PermissionDenied = failure(403, "Permission 'cloudmessaging.messages.create' denied on resource '//cloudresourcemanager.googleapis.com/projects/other' (or it may not exist).",
		errorInfo("IAM_PERMISSION_DENIED", map[string]string{"permission": "cloudmessaging.messages.create", "resource": "projects/other"}))
	// ServiceDisabled: the project does not use this API.
	ServiceDisabled = failure(403, "Firebase Cloud Messaging API has not been used in project 482915730064 before or it is disabled.",
		errorInfo("SERVICE_DISABLED", map[string]string{"service": "fcm.googleapis.com", "consumer": "projects/482915730064"}))

	// ThirdPartyAuth: the project's APNs key is wrong. Only messages to Apple devices get it.
	ThirdPartyAuth = failure(401, "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
		apnsError(403, "InvalidProviderToken"), fcmError("THIRD_PARTY_AUTH_ERROR"))
	// TokenExpired: the bearer token is too old.
	TokenExpired = failure(401, "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
		errorInfo("ACCESS_TOKEN_EXPIRED", map[string]string{"service": "fcm.googleapis.com", "method": "google.firebase.fcm.v1.FcmService.SendMessage"}))
	// TokenUnknown: the bearer token was never given.
	TokenUnknown = failure(401, "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
		errorInfo("ACCESS_TOKEN_TYPE_UNSUPPORTED", map[string]string{"service": "fcm.googleapis.com", "method": "google.firebase.fcm.v1.FcmService.SendMessage"}))
	// TokenMissing: there is no bearer token.
	TokenMissing = failure(401, "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
		errorInfo("CREDENTIALS_MISSING", map[string]string{"service": "fcm.googleapis.com", "method": "google.firebase.fcm.v1.FcmService.SendMessage"}))
	// Unauthorized is a 401 in HTML.
	Unauthorized = page(401, "Unauthorized")

	// ProjectQuota: the project has sent too much in this minute. It has no FcmError.
	ProjectQuota = failure(429, "Quota exceeded for quota metric 'Messages sent' and limit 'Messages sent per minute per project' of service 'fcm.googleapis.com' for consumer 'project_number:482915730064'.",
		errorInfo("RATE_LIMIT_EXCEEDED", map[string]string{"quota_limit": "SendsPerMinutePerProject", "quota_metric": "fcm.googleapis.com/sends", "quota_limit_value": "600000", "service": "fcm.googleapis.com", "consumer": "projects/482915730064"}))
	// TargetQuota: one device gets too much.
	TargetQuota = failure(429, "Quota exceeded.", quotaFailure("device", "Device message rate exceeded."), fcmError("QUOTA_EXCEEDED"))
	// TopicQuota: one topic gets too much.
	TopicQuota = failure(429, "Topic quota exceeded.", quotaFailure("topic", "Topic message rate exceeded."), fcmError("QUOTA_EXCEEDED"))
	// Overload is a 429 that says nothing of a quota.
	Overload = failure(429, "Resource has been exhausted (e.g. check quota).")

	// Internal is FCM's 500.
	Internal = failure(500, "Internal error encountered.", fcmError("INTERNAL"))
	// Unavailable is FCM's 503.
	Unavailable = failure(503, "The service is currently unavailable.", fcmError("UNAVAILABLE"))
	// BadGateway is a 502 in HTML.
	BadGateway = page(502, "Server Error")
	// GatewayTimeout is a 504 without an FcmError.
	GatewayTimeout = failure(504, "Deadline expired before operation could complete.")
	// RequestTimeout is a 408, seen under load.
	RequestTimeout = failure(408, "Request timeout.")
	// Aborted is a 409.
	Aborted = failure(409, "The operation was aborted.")
	// Unknown5xx is a 5xx with a code that no client knows yet.
	Unknown5xx = failure(503, "The service is resting.", fcmError("SERVICE_RESTING"))
	// Redirect sends the client elsewhere, as a portal does.
	Redirect = Response{Status: 302, ContentType: "text/html", Header: map[string]string{"Location": "https://portal.invalid/login"}, Body: "<a href=\"https://portal.invalid/login\">Log in</a>\n"}
)

// What FCM answers, or might, to a message that it has taken. All deliver it.
var (
	// OK is the answer with a message's name, as without a rule.
	OK = Response{Deliver: true}
	// EmptyObject is what a send to a device group gets.
	EmptyObject = Response{Status: 200, Body: "{}\n", Deliver: true}
	// AcceptedHTML is a 200 that is no JSON.
	AcceptedHTML = Response{Status: 200, ContentType: "text/html", Body: "<html>ok</html>\n", Deliver: true}
	// AcceptedHalf is a 200 whose JSON ends in the middle.
	AcceptedHalf = Response{Status: 200, Body: `{"name":"projects/482915730064/mess`, Deliver: true}
)

// What the token endpoint answers. Spec: fcm-v1-and-gateway.md A11.
var (
	// InvalidGrant is the answer to a clock that is off; a deleted key gets the code too.
	InvalidGrant = oauthError(400, "invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.")
	// InvalidSignature is the answer to a wrong or deleted key.
	InvalidSignature = oauthError(400, "invalid_grant", "Invalid JWT Signature.")
	// InvalidAccount is the answer to an account that is not there.
	InvalidAccount = oauthError(400, "invalid_grant", "Invalid grant: account not found")
	// InvalidScope is the answer to a scope that is not Firebase's.
	InvalidScope = oauthError(400, "invalid_scope", "Invalid OAuth scope or ID token audience provided.")
	// InvalidClient is the answer to an account that may not have tokens.
	InvalidClient = oauthError(401, "invalid_client", "The OAuth client was not found.")
	// InternalFailure is the token endpoint's 500.
	InternalFailure = oauthError(500, "internal_failure", "Backend Error")
)

func oauthError(code int, name, description string) Response {
	body, _ := json.Marshal(map[string]string{"error": name, "error_description": description})
	return Response{Status: code, Body: string(body) + "\n"}
}

// No answer at all.
var (
	// Hang never answers.
	Hang = Response{Hang: true}
	// Reset ends the stream with INTERNAL_ERROR after the request was read.
	Reset = Response{Reset: "INTERNAL_ERROR"}
	// Refused ends the stream in the way that says: nothing was done, send it again.
	Refused = Response{Reset: "REFUSED_STREAM"}
	// Closed closes the connection.
	Closed = Response{Cut: CutFIN}
)

// named are the answers that a control over HTTP can name.
var named = map[string]Response{
	"ok": OK, "empty_object": EmptyObject, "accepted_html": AcceptedHTML, "accepted_half": AcceptedHalf,
	"unregistered": Unregistered, "unregistered_apns": UnregisteredAPNs, "no_project": NoProject, "not_found": NotFound,
	"invalid_field": InvalidField, "invalid_token": InvalidToken, "too_big": TooBig, "unspecified": Unspecified, "unknown_code": UnknownCode,
	"sender_id_mismatch": SenderIDMismatch, "permission_denied": PermissionDenied, "service_disabled": ServiceDisabled,
	"third_party_auth": ThirdPartyAuth, "token_expired": TokenExpired, "token_unknown": TokenUnknown, "token_missing": TokenMissing, "unauthorized": Unauthorized,
	"project_quota": ProjectQuota, "target_quota": TargetQuota, "topic_quota": TopicQuota, "overload": Overload,
	"internal": Internal, "unavailable": Unavailable, "bad_gateway": BadGateway, "gateway_timeout": GatewayTimeout,
	"request_timeout": RequestTimeout, "aborted": Aborted, "unknown_5xx": Unknown5xx, "redirect": Redirect,
	"invalid_grant": InvalidGrant, "invalid_signature": InvalidSignature, "invalid_account": InvalidAccount,
	"invalid_scope": InvalidScope, "invalid_client": InvalidClient, "internal_failure": InternalFailure,
	"hang": Hang, "reset": Reset, "refused": Refused, "closed": Closed,
}

// Names are the names that [Rule.Answer] may have, sorted.
func Names() []string { return slices.Sorted(maps.Keys(named)) }

// Answers are the names that [Rule.Answer] may have, each with what it is.
func Answers() map[string]string {
	all := map[string]string{}
	for name, r := range named {
		all[name] = r.says()
	}
	return all
}

// says is what a request gets, in a line.
func (r Response) says() string {
	switch {
	case r.Hang:
		return "no answer"
	case r.Reset != "":
		return "no answer: the stream ends with " + r.Reset
	case r.Cut != "":
		return "no answer: the connection is closed"
	case r.Status == 0:
		return "as without a rule"
	case r.Status < 300:
		return fmt.Sprintf("HTTP %d, and the message is delivered: %s", r.Status, plain.Line(r.Body, 60))
	}
	var google struct {
		Error struct {
			Message string
			Details []struct{ ErrorCode, Reason string }
		}
	}
	var oauth struct {
		Error       string
		Description string `json:"error_description"`
	}
	switch {
	case json.Unmarshal([]byte(r.Body), &google) == nil:
		code := status[r.Status]
		for _, d := range google.Error.Details {
			code = cmp.Or(d.ErrorCode, d.Reason, code)
		}
		return fmt.Sprintf("HTTP %d %s: %s", r.Status, code, plain.Line(google.Error.Message, 120))
	case json.Unmarshal([]byte(r.Body), &oauth) == nil:
		return fmt.Sprintf("for a request for a bearer token: HTTP %d %s: %s", r.Status, oauth.Error, oauth.Description)
	}
	return fmt.Sprintf("HTTP %d %s, not in JSON", r.Status, http.StatusText(r.Status))
}
