package console

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/auth"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

//go:embed pages
var files embed.FS

// pages are the templates by name: each has the frame, what several pages share, and a main part of its own.
var pages = func() map[string]*template.Template {
	shared := template.Must(template.New("frame.html").Funcs(functions).ParseFS(files, "pages/frame.html", "pages/shared.html"))
	all := map[string]*template.Template{}
	entries, _ := files.ReadDir("pages")
	for _, e := range entries {
		if name := strings.TrimSuffix(e.Name(), ".html"); name != "frame" && name != "shared" {
			all[name] = template.Must(template.Must(shared.Clone()).ParseFS(files, "pages/"+e.Name()))
		}
	}
	return all
}()

var functions = template.FuncMap{
	"count": count, "bytes": bytesText, "when": when, "rate": rateText, "seg": url.PathEscape,
	"clean": func(s string) string { return clean(s, 300) }, "short": func(s string) string { return clean(s, 60) },
	"duration": func(d tandem.Duration) string { return durationText(time.Duration(d)) }, "seconds": func(s float64) string { return durationText(time.Duration(s * float64(time.Second))) },
	"plural": plural, "join": strings.Join, "state": stateClass, "sentence": sentence, "given": given, "flow": flowHref,
	"marks": func(names, page string) bool { return slices.Contains(strings.Fields(names), page) },
}

// frame is what every page shows around its own data.
type frame struct {
	Title   string
	Page    string // name of the template, which the navigation marks
	Who     string // empty before a login
	Session bool   // there is something to log out of
	Operate bool
	Publish bool
	Version string
	CSRF    string
	Did     string // what an action before did
	Data    any
}

// show answers with a page.
func (v *visit) show(status int, page, title string, data any) {
	name, _, _ := v.console.session(v.r)
	f := frame{Title: title, Page: page, Who: v.who.Name, Session: name != "", Operate: v.who.Can(auth.RoleOperate), Publish: v.who.Can(auth.RolePublish), Version: v.console.opts.Version,
		CSRF: v.csrf, Did: said(v.r.URL.Query()), Data: data}
	var buf bytes.Buffer
	if err := pages[page].Execute(&buf, &f); err != nil {
		v.console.opts.Logger.Error("console: a page could not be made", "page", page, "error", err)
		http.Error(v.w, "the page could not be made: the server's log has the details", http.StatusInternalServerError)
		return
	}
	if status == http.StatusOK && httpx.NotModified(v.w, v.r, httpx.StatusETag("", buf.Bytes()), "no-store") {
		return
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	_, _ = v.w.Write(buf.Bytes()) // a browser that has gone away is nobody's error
}

// said says what the action did that led to this page. It reads no words from the address: anybody can write one.
func said(q url.Values) string {
	n, _ := strconv.Atoi(q.Get("n"))
	switch q.Get("did") {
	case "publish":
		return "Stored."
	case "pause":
		return "Paused: nothing is delivered until it is resumed, and its place is kept."
	case "resume":
		return "Resumed."
	case "seek":
		return "Moved: a new epoch has begun."
	case "redrive":
		return plural(n, "dead letter") + " on the way again."
	case "discard":
		return plural(n, "dead letter") + " discarded."
	case "cancel":
		return "Cancelled. Work under way is not undone."
	case "reload":
		return "The file was read again, and all of it is in force."
	}
	return ""
}

// count writes a number with its thousands parted.
func count(n any) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func plural(n any, word string) string {
	s := count(n)
	switch {
	case s == "1":
	case strings.HasSuffix(word, "ry"):
		word = strings.TrimSuffix(word, "y") + "ies"
	default:
		word += "s"
	}
	return s + " " + word
}

func bytesText(n int64) string {
	if n < 1000 {
		return fmt.Sprint(n, " B")
	}
	v, unit := float64(n), 0
	for v >= 999.5 && unit < 5 {
		v /= 1000
		unit++
	}
	return fmt.Sprintf("%.3g %sB", v, []string{"", "k", "M", "G", "T", "P"}[unit])
}

// rateText writes events a second; a negative number is one that is not known yet.
func rateText(perSecond float64) string {
	switch {
	case perSecond < 0:
		return "–"
	case perSecond == 0:
		return "0/s"
	case perSecond < 10:
		return fmt.Sprintf("%.2g/s", perSecond)
	}
	return count(int64(perSecond+.5)) + "/s"
}

func durationText(d time.Duration) string {
	switch {
	case d < 0:
		return "forever"
	case d == 0:
		return "0 s"
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d)/float64(time.Millisecond))
	case d < time.Minute:
		return fmt.Sprintf("%.3g s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%.3g min", d.Minutes())
	case d < 72*time.Hour:
		return fmt.Sprintf("%.3g h", d.Hours())
	}
	return fmt.Sprintf("%.3g d", d.Hours()/24)
}

// when is a time that a script turns into the reader's zone. It takes a time.Time or RFC 3339.
func when(v any) template.HTML {
	t, ok := v.(time.Time)
	if s, isText := v.(string); isText {
		t, ok = tandem.ParseTime(s)
	}
	if !ok || t.IsZero() {
		return "–"
	}
	t = t.UTC()
	return template.HTML(`<time datetime="` + t.Format("2006-01-02T15:04:05.000Z") + `">` + t.Format("2006-01-02 15:04:05") + ` UTC</time>`) //nolint:gosec // digits only
}

// stateClass sorts the states of subscriptions, deliveries and operations by how they are shown.
func stateClass(state string) string {
	switch state {
	case "running", "delivered", "succeeded", "healthy", "ready", "done":
		return "good"
	case "failing", "damaged", "dead", "failed", "unhealthy", "disabled", "not ready":
		return "bad"
	case "paused", "capped", "orphan", "retrying", "waiting", "expired", "refused", "discarded", "uncounted", "removed":
		return "warn"
	}
	return "plain"
}

// sentence makes one of the detail of a problem.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	r, n := utf8.DecodeRuneInString(s)
	s = strings.ToUpper(string(r)) + s[n:]
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}

// query makes the query of an address of pairs, leaving out those without a value.
func query(pairs ...any) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if s := fmt.Sprint(pairs[i+1]); s != "" {
			q.Set(fmt.Sprint(pairs[i]), s)
		}
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// given hands several values to a shared template, as pairs of name and value.
func given(pairs ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return m
}
