package page

import (
	"bytes"
	"errors"
	"html"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"balhost/host/internal/admin"
)

// A backup is saved as a file, and the page says how it went: whole, cut off, or never begun.
func TestBackupIsAFile(t *testing.T) {
	h := many(1)
	h.written = []byte("all of it")
	pages := serve(t, h, "")
	says := func(want string) {
		t.Helper()
		if text := get(t, pages, "/backup", admin.Admin).Body.String(); !strings.Contains(text, want) {
			t.Errorf("the page does not say %q:\n%s", want, text)
		}
	}
	says("Take a backup")
	w := post(t, pages, "/backup/file", "application/x-www-form-urlencoded", "")
	if w.Body.String() != "all of it" || !strings.HasPrefix(w.Header().Get("Content-Disposition"), `attachment; filename="balhost-20`) {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
	says("The last backup from here is whole: balhost-20")

	h.broken = errors.New("the disk hangs")
	func() {
		defer func() {
			if err := recover(); err != http.ErrAbortHandler {
				t.Errorf("an answer that misses its end was not cut off: %v", err)
			}
		}()
		post(t, pages, "/backup/file", "application/x-www-form-urlencoded", "")
	}()
	says("did not become whole")
	says("the disk hangs")

	h.written = nil
	if w := post(t, pages, "/backup/file", "application/x-www-form-urlencoded", ""); w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "the disk hangs") || w.Header().Get("Content-Disposition") != "" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

// One backup runs at a time, and the page shows how far it is.
func TestBackupShowsItsProgress(t *testing.T) {
	p := New(Options{Functions: many(1).functions()})
	if _, ok := p.backups.begin(p.status.now().Now); !ok {
		t.Fatal("none runs")
	}
	p.backups.grow(3 << 20)
	w := get(t, http.HandlerFunc(p.backupForm), "/backup", admin.Admin)
	if text := w.Body.String(); !strings.Contains(text, "3.0 MiB") || strings.Contains(text, "Take a backup") {
		t.Error(text)
	}
	if w = get(t, http.HandlerFunc(p.backup), "/backup/file", admin.Admin); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "a backup runs already") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// What an export gives, an import takes: the letters that the filter finds, whole.
func TestLettersGoToAFileAndBack(t *testing.T) {
	h := many(3)
	pages := serve(t, h, "")
	out := get(t, pages, "/dead/export?plugin=plugin-1", admin.Admin)
	file := out.Body.String()
	if n := strings.Count(file, "\n"); n != 1 || !strings.Contains(file, `"id":"01J1"`) || !strings.HasPrefix(out.Header().Get("Content-Disposition"), `attachment; filename="dead-letters-20`) {
		t.Fatalf("%d lines, %v: %s", n, out.Header(), file)
	}
	if w := get(t, pages, "/dead/export?plugin=nobody", admin.Admin); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "there is nothing to save") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for text, want := range map[string]string{
		file + "\n" + file:   "2 dead letters imported; nothing is handled before you replay them",
		file + "{}\n":        "Not done: nothing was imported: line 2: it has no event",
		file + "\nno letter": "Not done: nothing was imported: line 3 is no letter",
		"":                   "Not done: there is no dead letter in the file",
	} {
		h.did = nil
		w := upload(t, pages, text)
		if got := toldBy(t, pages, w.Result().Cookies()); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/dead" || !strings.Contains(got, want) {
			t.Errorf("%d %v, no %q in what the next page says: %s", w.Code, w.Header(), want, got)
		}
		if strings.HasPrefix(want, "Not done") && strings.Contains(strings.Join(h.did, ";"), "check false") {
			t.Errorf("with a wrong line it was imported: %v", h.did)
		}
	}
}

// upload sends a file as a form does.
func upload(t *testing.T, pages http.Handler, text string) *httptest.ResponseRecorder {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "letters.jsonl")
	if err == nil {
		_, err = part.Write([]byte(text))
	}
	if err = errors.Join(err, form.Close()); err != nil {
		t.Fatal(err)
	}
	return post(t, pages, "/dead/import", form.FormDataContentType(), body.String())
}

// toldBy is what the next page says of an order.
func toldBy(t *testing.T, pages http.Handler, cookies []*http.Cookie) string {
	t.Helper()
	r := admin.WithRole(httptest.NewRequest("GET", "/", nil), admin.Read)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	pages.ServeHTTP(w, r)
	return html.UnescapeString(toldLine.FindString(w.Body.String()))
}

var toldLine = regexp.MustCompile(`<p id="told".*`)
