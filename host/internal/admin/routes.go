package admin

import (
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"balhost/host/internal/entry"
)

// route is one path of the API with one method. Later versions add routes and never
// change one. From the routes comes /openapi.json.
type route struct {
	pattern string // as [http.ServeMux] takes it: "GET /v1/status"
	role    Role   // that the caller needs
	does    string // in one sentence, for people
	handler http.Handler

	query  []parameter
	loose  bool   // the query may have anything: it is another program's
	body   any    // a value of the type that the body has; nil: there is no body
	answer any    // a value of the type that the answer has; nil: it is not JSON
	media  string // what the answer is if it is not JSON
	often  bool   // programs use it: the audit log has one line a minute of each caller
	page   bool   // it is for people in a browser, not a part of the API
	stream bool   // a page's answer goes on

	optional  bool // the body may be left out
	otherwise any  // a value of the type that the answer has with 503; nil: it is as every failure
}

// eventStream is what the answer is that goes on.
const eventStream = "text/event-stream"

// on is a route without query, body and answer. Those come by the methods below.
func on(pattern string, role Role, does string, handler http.HandlerFunc) route {
	return route{pattern: pattern, role: role, does: does, handler: handler}
}

// asks gives the parameters that the query may have.
func (r route) asks(query ...parameter) route { r.query = query; return r }

// takes gives the type of the body, by a value of it.
func (r route) takes(body any) route { r.body = body; return r }

// mayTake is takes of a body that may be left out.
func (r route) mayTake(body any) route { r.body, r.optional = body, true; return r }

// answers gives the type of the answer, by a value of it.
func (r route) answers(answer any) route { r.answer = answer; return r }

// orElse gives the type of an answer with 503 that is no failure.
func (r route) orElse(answer any) route { r.otherwise = answer; return r }

// sends is for an answer that is not JSON. event is a value of the type of each event if
// it is a stream of events, else nil.
func (r route) sends(media string, event any) route { r.media, r.answer = media, event; return r }

// anyQuery is for a path whose clients are others' programs, which add parameters.
func (r route) anyQuery() route { r.loose = true; return r }

// byPrograms is for a path that programs use often.
func (r route) byPrograms() route { r.often = true; return r }

// routes is the API, in the order in which people read it.
func (a api) routes() []route {
	after := text("after", `the "next" of the page before`)
	return []route{
		on("GET /livez", Anyone, "Says whether the process works; 503 when it should be restarted.", a.livez).answers(Liveness{}).anyQuery(),
		on("GET /readyz", Anyone, "Says whether the host can do its work; 503 with the reasons when it can't.", a.readyz).answers(Readiness{}).orElse(Readiness{}).anyQuery(),
		on("GET /openapi.json", Read, "This description of the API, as OpenAPI 3.1.", a.openapi).answers(schema{}),
		on("GET /v1/status", Read, "The state of sessions, ledger and plugins.", a.status).answers(Status{}),
		on("GET /v1/plugins", Read, "The plugins alone.", a.plugins).answers(Plugins{}),
		on("GET /v1/tail", Read, "Streams what happens from now on, as server-sent events: hello, step, skipped, end.", a.tail).
			asks(tailParameters()...).sends(eventStream, Step{}),
		on("GET /v1/series", Read, "Figures of the last 15 minutes, for charts.", a.series).answers(Series{}),
		on("POST /v1/messages", Operate, "Stores a downstream; it is on disk when this answers.", a.send).takes(Message{}).answers(sent{}).byPrograms(),
		on("POST /v1/messages/cancel", Operate, "Cancels downstreams that have not gone out.", a.cancel).takes(CancelOrder{}).answers(Ordered{}).byPrograms(),
		on("GET /v1/messages", Read, "Searches messages: what is pending, then dead letters, then what has ended.", a.messages).
			asks(messageParameters()...).answers(MessagePage{}),
		on("GET /v1/messages/{id}", Read, "What became of one message.", a.life).asks(lifeParameters()...).answers(Life{}),
		on("GET /v1/dead", Read, "Lists dead letters.", a.dead).asks(deadParameters()...).answers(DeadPage{}),
		on("GET /v1/dead/{id}", Operate, "One dead letter with its payload.", a.deadLetter).answers(entry.DeadLetter{}),
		on("GET /v1/dead/export", Admin, "Gives dead letters whole, for a file.", a.exportDead).asks(deadParameters()...).answers(ExportPage{}),
		on("POST /v1/dead/import", Admin, "Makes exported letters dead letters again.", a.importDead).takes(ImportOrder{}).answers(Imported{}),
		on("POST /v1/dead/replay", Operate, "Puts dead letters back at the end of their lanes.", a.replay).takes(order{}).answers(Ordered{}),
		on("POST /v1/dead/delete", Admin, "Removes dead letters for good.", a.deleteDead).takes(order{}).answers(Ordered{}),
		on("GET /v1/state", Read, "Lists which plugins have state.", a.stateOwners).asks(after).answers(StateOwners{}),
		on("GET /v1/state/{plugin}", Admin, "Lists a plugin's state, or gives one key of it.", a.state).
			asks(text("key", "only this key"), text("prefix", "only keys that begin so"), after, limitParameter).answers(oneOf{StatePage{}, StateItem{}}),
		on("POST /v1/state/{plugin}/delete", Admin, "Deletes keys of a plugin's state.", a.deleteState).takes(StateOrder{}).answers(done{}),
		on("GET /v1/bindings", Operate, "Lists which device belongs to which user of a gateway.", a.bindings).
			asks(text("session", "whose gateway; the only one if absent"), text("user", "only this user's devices"), text("from", "only this device"), after, limitParameter).answers(BindingPage{}),
		on("POST /v1/bindings/delete", Admin, "Takes devices from their users.", a.unbind).takes(UnbindOrder{}).answers(Unbound{}),
		on("GET /v1/stuck", Read, "Lists the handlers that go on after their time is up.", a.stuck).answers(StuckPage{}),
		on("POST /v1/stuck/giveup", Operate, "Ends the wait for a stuck handler: its lane goes on.", a.giveUp).takes(GiveUpOrder{}).answers(done{}),
		on("POST /v1/erase", Admin, "Erases all that the ledger has of a device, or says what there is.", a.erase).takes(EraseOrder{}).answers(entry.Erased{}),
		on("GET /v1/erase", Read, "How far the running erasure, or forgetting of a plugin, is.", a.erasing).answers(Erasing{}),
		on("GET /v1/retries", Read, "Lists events that wait for their next attempt.", a.retries).asks(text("plugin", "only this plugin's"), limitParameter).answers(RetryPage{}),
		on("POST /v1/retries/now", Operate, "Tries messages now that wait for their next attempt.", a.retryNow).takes(RetryOrder{}).answers(Ordered{}),
		on("GET /v1/pauses", Read, "Lists what is paused.", a.pauses).answers(PausePage{}),
		on("POST /v1/pauses", Operate, "Pauses a plugin, a device or a lane at a plugin, or a session.", a.pauseBy("paused", a.PauseBy)).takes(PauseOrder{}).answers(done{}),
		on("POST /v1/pauses/resume", Operate, "Ends such a pause.", a.pauseBy("resumed", a.ResumeBy)).takes(PauseOrder{}).answers(done{}),
		on("POST /v1/plugins/{name}/pause", Operate, "Gives a plugin no more events.", a.plugin("paused", a.Pause)).answers(done{}),
		on("POST /v1/plugins/{name}/resume", Operate, "Gives it events again.", a.plugin("resumed", a.Resume)).answers(done{}),
		on("POST /v1/plugins/{name}/rollback", Admin, "Starts the plugin's previous proven content.", a.plugin("rolled back", a.Rollback)).answers(done{}),
		on("POST /v1/plugins/{name}/forget", Admin, "Forgets a plugin that is gone for good, or says what there is of it.", a.forget).takes(ForgetOrder{}).answers(entry.Forgotten{}),
		on("POST /v1/plugins/{name}/log-level", Operate, "Changes how much a plugin logs.", a.setLogLevel).takes(logLevel{}).answers(done{}),
		on("POST /v1/reload", Admin, "Applies the config file again, and looks at the plugins folder.", a.reload).mayTake(ReloadOrder{}).answers(Reloaded{}),
		on("GET /v1/backup", Admin, "Streams a backup of the ledger.", a.backup).
			asks(number("rate", "bytes a second; 0: no limit", 0, 1<<50)).sends("application/octet-stream", nil),
		on("POST /v1/verify", Operate, "Checks that the whole ledger is consistent.", a.verify).answers(Verified{}),
		on("GET /v1/audit", Admin, "Who changed what, and who was not allowed to.", a.audits).asks(auditParameters()...).answers(AuditPage{}),
		{pattern: "GET /metrics", role: Read, does: "Metrics for Prometheus.", handler: scraped(promhttp.HandlerFor(a.metrics, promhttp.HandlerOpts{})), media: "text/plain", loose: true},
		on("GET /debug/pprof/", Admin, "Go's profiles.", pprof.Index).sends("text/html", nil).anyQuery(),
		on("GET /debug/pprof/cmdline", Admin, "The host's command line.", pprof.Cmdline).sends("text/plain", nil).anyQuery(),
		on("GET /debug/pprof/profile", Admin, "A CPU profile.", pprof.Profile).sends("application/octet-stream", nil).anyQuery(),
		on("GET /debug/pprof/symbol", Admin, "Names of functions.", pprof.Symbol).sends("text/plain", nil).anyQuery(),
		on("GET /debug/pprof/trace", Admin, "A trace of the Go runtime.", pprof.Trace).sends("application/octet-stream", nil).anyQuery(),
	}
}

// oneOf is an answer that has one of several types.
type oneOf []any

// scraped bounds the time of an answer that a library's handler writes.
func scraped(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		writeWithin(w, requestLimit)
		next.ServeHTTP(w, r)
	})
}
