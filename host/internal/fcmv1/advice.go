package fcmv1

import (
	"fmt"
	"strings"

	"balhost/host/internal/plain"
	"balhost/host/internal/serviceaccount"
)

// mostSaid is how much of FCM's words stands before an advice, so that nothing that
// shows both has to cut the advice.
const mostSaid = 300

// advised is what FCM said, and then what to do about it.
func advised(said, advice string) string {
	if advice == "" {
		return said
	}
	return strings.TrimRight(plain.Clip(said, mostSaid), " .:;") + ": " + advice
}

// accountAdvice is what to do when FCM does not serve the account.
func accountAdvice(j *judgement, project string, key serviceaccount.Key) string {
	who := "these credentials"
	if key.Private != nil {
		who = fmt.Sprintf("%v of project %s", key, key.ProjectID)
	}
	switch {
	case j.Code == "SERVICE_DISABLED":
		return fmt.Sprintf("enable the Firebase Cloud Messaging API for project %s (console.cloud.google.com, APIs)", project)
	case j.sign == badToken:
		return fmt.Sprintf("FCM takes no access token of %s, not even a new one: does the key belong to this project, and is this machine's clock right?", who)
	}
	return fmt.Sprintf("%s may not send for project %s: is sender_id the number of that project, is endpoint right, "+
		"and has the account the permission cloudmessaging.messages.create (role Firebase Cloud Messaging API Admin)?", who, project)
}

// quotaAdvice is what to do when the project's quota is used up.
const quotaAdvice = "the session rests, and then goes on by itself, slower; if this repeats, set a lower rate, or ask Google for a higher quota"

// messageAdvice is what to do about a downstream that FCM refused for good.
func messageAdvice(j *judgement) string {
	switch {
	case j.Code == unregistered:
		return "the app is no longer installed there, or has another token now: delete this target, and take the new one when the app sends it"
	case j.sign == stranger:
		return "this target belongs to an app of another Firebase project: send to it by a session of that project, or delete it"
	case j.sign == badKey:
		return "renew the key for Apple's devices or for browsers in the Firebase console (Project settings, Cloud Messaging), and send the message again"
	case j.Code == "INVALID_ARGUMENT":
		return "this message never works as it is: correct the field that FCM names; if that is the token, take a new one from the app"
	}
	return ""
}
