// Package page is what the host shows to people in a browser, at "/" of the admin address:
// how it is, what is wrong and what to do, and the same orders that the commands give. It
// is a second face of [admin.Functions], as the API is the first, and decides nothing.
// Pages are HTML that works without JavaScript: links, forms with GET to ask, forms with
// POST to act, which lead back. With JavaScript, parts that are in sight are fetched again
// every two seconds. Text of devices and plugins is escaped by html/template alone. It has
// no goroutines of its own: those are the server's. Start at [Pages.Rows].
package page

import (
	"net/http"

	"balhost/host/internal/admin"
)

// Options are what [New] needs.
type Options struct {
	Functions admin.Functions
	// Device is where balhost dev runs virtual devices, such as "http://127.0.0.1:5280".
	// "": there are none, as in production.
	Device string
}

// Pages answers the requests of browsers.
type Pages struct {
	admin.Functions
	status  look[admin.Status]
	series  look[admin.Series]
	letters look[[]pile]
	views   views
	files   files
	device  device
	backups backups
}

// New makes the pages.
func New(o Options) *Pages {
	p := &Pages{Functions: o.Functions, files: embedded(), device: newDevice(o.Device)}
	p.status.ask, p.series.ask = o.Functions.Status, o.Functions.Series
	p.letters.ask, p.letters.keep = p.piles, 4*fresh
	p.views = parsed(p.files)
	return p
}

// Rows are the paths that the pages have, for the server.
func (p *Pages) Rows() []admin.Page {
	const read, operate, all = admin.Read, admin.Operate, admin.Admin
	get := func(role admin.Role, path, does string, handler http.HandlerFunc) admin.Page {
		return admin.Page{Pattern: "GET " + path, Role: role, Does: does, Handler: handler}
	}
	post := func(role admin.Role, path, does string, do action) admin.Page {
		return admin.Page{Pattern: "POST " + path, Role: role, Does: does, Handler: p.act(do)}
	}
	rows := []admin.Page{
		get(read, "/{$}", "What is wrong, and how much passes.", p.overview),
		get(read, "/plugins", "All plugins.", p.plugins),
		get(read, "/plugins/{name}", "One plugin.", p.plugin),
		post(operate, "/plugins/{name}/{order}", "Pauses or resumes a plugin, or changes how much it logs.", p.orderPlugin),
		post(all, "/plugins/{name}/rollback", "Starts the plugin's previous proven content.", p.rollback),
		get(all, "/plugins/{name}/forget", "What there is of a plugin that is gone.", p.forgetForm),
		post(all, "/plugins/{name}/forget", "Forgets a plugin that is gone for good.", p.forget),
		post(operate, "/stuck/give-up", "Ends the wait for a stuck handler.", p.giveUp),
		post(all, "/reload", "Applies the config file again, and looks at the plugins folder.", p.reload),
		get(read, "/sessions", "All sessions.", p.sessions),
		get(read, "/dead", "Dead letters.", p.dead),
		get(all, "/dead/export", "Dead letters as a file.", p.exportDead),
		{Pattern: "POST /dead/import", Role: all, Does: "Makes the dead letters of a file dead letters again.", Handler: p.importDead},
		get(operate, "/dead/{id}", "One dead letter with its payload.", p.deadLetter),
		post(operate, "/dead/replay", "Puts dead letters back at the end of their lanes.", p.replay),
		post(all, "/dead/delete", "Removes dead letters for good.", p.deleteDead),
		get(read, "/retries", "Events that wait for their next attempt.", p.retries),
		post(operate, "/retries/now", "Tries waiting events now.", p.retryNow),
		get(read, "/messages", "Finds messages.", p.messages),
		get(read, "/messages/{id}", "What became of one message.", p.message),
		get(read, "/tail", "What happens, live.", p.tailForm),
		{Pattern: "GET /tail/steps", Role: read, Does: "The rows of the live tail.", Stream: p.steps},
		get(read, "/pauses", "What is paused.", p.pauses),
		post(operate, "/pauses", "Pauses a plugin, a device at a plugin, or a session.", p.pauseBy),
		post(operate, "/pauses/resume", "Ends such a pause.", p.resumeBy),
		get(operate, "/send", "A form for a downstream.", p.sendForm),
		{Pattern: "POST /send", Role: operate, Does: "Stores a downstream.", Handler: p.send},
		post(operate, "/cancel", "Cancels downstreams that have not gone out.", p.cancel),
		get(read, "/state", "Which plugins have state.", p.stateOwners),
		get(all, "/state/{plugin}", "A plugin's state.", p.state),
		post(all, "/state/{plugin}/delete", "Deletes a key of a plugin's state.", p.deleteState),
		get(operate, "/bindings", "Which device belongs to which user of a gateway.", p.bindings),
		post(all, "/bindings/delete", "Takes devices from their users.", p.unbind),
		get(all, "/erase", "A form for the erasure of a device.", p.eraseForm),
		{Pattern: "POST /erase", Role: all, Does: "Says what there is of a device, and erases it.", Handler: p.erase},
		get(all, "/backup", "What is to say of backups.", p.backupForm),
		{Pattern: "POST /backup/file", Role: all, Does: "Takes a backup, as a file.", Handler: p.backup},
		get(all, "/audit", "Who did what.", p.audit),
		get(admin.Anyone, "/files/{version}/{name}", "Styles and scripts.", p.files.serve),
	}
	if p.device.there() {
		rows = append(rows, get(operate, "/device", "A virtual device.", p.deviceForm), post(operate, "/device", "Sends as a virtual device.", p.typed))
	}
	return rows
}
