package admin

import (
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// route is one path of the API with one method. Later versions add routes and never
// change one.
type route struct {
	pattern string // as [http.ServeMux] takes it: "GET /v1/status"
	does    string // in one sentence, for people
	handler http.Handler
}

// routes is the API, in the order in which people read it.
func (a api) routes() []route {
	on := func(pattern, does string, handler http.HandlerFunc) route { return route{pattern, does, handler} }
	return []route{
		on("GET /livez", "Says whether the process works; 503 when it should be restarted.", a.livez),
		on("GET /readyz", "Says whether the host can do its work; 503 with the reasons when it can't.", a.readyz),
		on("GET /v1/status", "The state of sessions, ledger and plugins.", a.status),
		on("GET /v1/plugins", "The plugins alone.", a.plugins),
		on("POST /v1/messages", "Stores a downstream; it is on disk when this answers.", a.send),
		on("POST /v1/messages/cancel", "Cancels downstreams that have not gone out.", a.cancel),
		on("GET /v1/dead", "Lists dead letters.", a.dead),
		on("GET /v1/dead/{id}", "One dead letter with its payload.", a.deadLetter),
		on("POST /v1/dead/replay", "Puts dead letters back at the end of their lanes.", a.replay),
		on("POST /v1/dead/delete", "Removes dead letters for good.", a.deleteDead),
		on("GET /v1/state", "Lists which plugins have state.", a.stateOwners),
		on("GET /v1/state/{plugin}", "Lists a plugin's state, or gives one key of it.", a.state),
		on("POST /v1/state/{plugin}/delete", "Deletes keys of a plugin's state.", a.deleteState),
		on("GET /v1/bindings", "Lists which device belongs to which user of a gateway.", a.bindings),
		on("POST /v1/bindings/delete", "Takes devices from their users.", a.unbind),
		on("GET /v1/retries", "Lists events that wait for their next attempt.", a.retries),
		on("POST /v1/retries/now", "Tries waiting events now.", a.retryNow),
		on("POST /v1/plugins/{name}/pause", "Gives a plugin no more events.", a.plugin(a.Pause)),
		on("POST /v1/plugins/{name}/resume", "Gives it events again.", a.plugin(a.Resume)),
		on("POST /v1/plugins/{name}/rollback", "Starts the plugin's previous proven content.", a.plugin(a.Rollback)),
		on("POST /v1/plugins/{name}/log-level", "Changes how much a plugin logs.", a.setLogLevel),
		on("POST /v1/reload", "Applies the config file again, and looks at the plugins folder.", a.reload),
		on("GET /v1/backup", "Streams a backup of the ledger.", a.backup),
		on("POST /v1/verify", "Checks that the whole ledger is consistent.", a.verify),
		{"GET /metrics", "Metrics for Prometheus.", scraped(promhttp.HandlerFor(a.metrics, promhttp.HandlerOpts{}))},
		on("GET /debug/pprof/", "Go's profiles.", pprof.Index),
		on("GET /debug/pprof/cmdline", "The host's command line.", pprof.Cmdline),
		on("GET /debug/pprof/profile", "A CPU profile.", pprof.Profile),
		on("GET /debug/pprof/symbol", "Names of functions.", pprof.Symbol),
		on("GET /debug/pprof/trace", "A trace of the Go runtime.", pprof.Trace),
	}
}

// scraped bounds the time of an answer that a library's handler writes.
func scraped(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		writeWithin(w, requestLimit)
		next.ServeHTTP(w, r)
	})
}
