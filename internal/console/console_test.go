package console_test

import (
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem/internal/auth"
)

var (
	attribute = regexp.MustCompile(`\s(href|src|action|style|on\w+)="([^"]*)"`)
	named     = regexp.MustCompile(`/(orders|empty|stock|report|[0-9]+-[0-9-]+|[0-9a-f]{8}-[0-9a-f-]{27})\b`)
	unescape  = strings.NewReplacer("&amp;", "&", "&#43;", "+", "&#34;", `"`, "&#39;", "'", "&lt;", "<", "&gt;", ">")
)

// TestEveryLinkLeadsToAPage walks from the overview over all links, with what events of others say on the pages.
func TestEveryLinkLeadsToAPage(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	seen, todo := map[string]bool{"/": true}, []string{"/"}
	shown, nodes := map[string]bool{}, 0
	for len(todo) > 0 {
		path := todo[0]
		todo = todo[1:]
		if strings.HasPrefix(path, "/assets/") {
			res, err := b.Get(w.base + path)
			if err != nil || res.StatusCode != 200 || res.Header.Get("ETag") == "" {
				t.Errorf("%s: %v, %v", path, res, err)
			}
			res.Body.Close()
			continue
		}
		page := w.get(b, path, 200)
		if strings.Contains(path, "raw=1") {
			continue
		}
		u, _ := url.Parse(path)
		shown[named.ReplaceAllString(u.Path, "/*")] = true
		if strings.Contains(page, "<script>") || strings.Contains(page, "<img") || strings.Contains(page, "\u202e") {
			t.Errorf("%s shows what an event says as it is", path)
		}
		if n := strings.Count(page, "<script"); n != 1 || !strings.Contains(page, "</html>") {
			t.Errorf("%s has %d scripts, or no end", path, n)
		}
		if len(page) > 400<<10 {
			t.Errorf("%s has %d bytes", path, len(page))
		}
		for _, m := range attribute.FindAllStringSubmatch(page, -1) {
			name, to := m[1], unescape.Replace(m[2])
			switch {
			case name == "style" || strings.HasPrefix(name, "on"):
				t.Errorf("%s has %s", path, m[0])
			case !strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "#") || strings.HasPrefix(to, "//"):
				t.Errorf("%s leads to %q", path, to)
			case name != "action" && !strings.HasPrefix(to, "#"):
				if strings.Contains(to, "?node=") && !seen[to] {
					if nodes++; nodes > 40 {
						continue // each of a flow has an address
					}
				}
				if to, _, _ = strings.Cut(to, "#"); !seen[to] {
					seen[to] = true
					todo = append(todo, to)
				}
			}
		}
	}
	for _, want := range []string{"/", "/flows", "/flows/*", "/topics", "/topics/*", "/topics/*/event", "/subscriptions", "/subscriptions/*", "/dead-letters", "/dead-letters/*", "/dead-letters/*/*",
		"/operations", "/services", "/engine", "/configuration"} {
		if !shown[want] {
			t.Errorf("nothing leads to %s: %v", want, shown)
		}
	}
	if len(seen) < 40 {
		t.Errorf("only %d links were found", len(seen))
	}
}

// TestPayloadsThatDoHarm: events say what they like, and each is shown, cut and harmless.
func TestPayloadsThatDoHarm(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	for id, want := range map[string]string{
		"e5":           `&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;`,
		"e6":           "ff fe 00 01 80",
		"e7":           "[[[[[[[[[[",
		"e8":           "Shown is the beginning of 900 kB",
		"odd/id?&#<b>": `&#34;name&#34;: &#34;&lt;script&gt;`,
	} {
		for _, path := range []string{"/topics/orders/event?" + url.Values{"id": {id}, "source": {"/shop"}}.Encode(), "/flows?" + url.Values{"event": {id}, "source": {"/shop"}}.Encode()} {
			page := w.get(b, path, 200)
			if !strings.Contains(page, want) {
				t.Errorf("%s: %q is not on the page: %.3000s", path, want, page)
			}
			if strings.Contains(page, "<script>") || strings.Contains(page, "<img") || strings.Contains(page, "\u202e") {
				t.Errorf("%s shows what an event says as it is", path)
			}
			if len(page) > 300<<10 {
				t.Errorf("%s: %d bytes", path, len(page))
			}
		}
	}
	res, err := b.Get(w.base + "/topics/orders/event?id=e5&source=/shop&raw=1")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if h := res.Header; h.Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(h.Get("Content-Disposition"), "attachment") {
		t.Errorf("a download that a browser may show: %v", h)
	}
}

// TestWhoMayDoWhat: a login shows what the token may read, and lets it do what it may do.
func TestWhoMayDoWhat(t *testing.T) {
	w := newWorld(t, token("admin", auth.RoleRead, auth.RoleOperate, auth.RolePublish), token("viewer", auth.RoleRead), token("producer", auth.RolePublish))
	nobody := w.browser()
	if page := w.get(nobody, "/subscriptions/stock?state=dead", 200); !strings.Contains(page, `name="token"`) || !strings.Contains(page, `value="/subscriptions/stock?state=dead"`) {
		t.Errorf("no login that leads on: %s", page)
	}
	secret := secretOf(w.get(nobody, "/login", 200))
	w.post(nobody, "/login", url.Values{"csrf": {secret}, "token": {"wrong"}}, 401)
	w.post(nobody, "/login", url.Values{"csrf": {secret}, "token": {"secret-producer"}}, 403)
	w.post(nobody, "/login", url.Values{"csrf": {"x"}, "token": {"secret-admin"}}, 403)
	w.post(nobody, "/subscriptions/stock/pause", url.Values{"csrf": {secret}}, 200) // the login
	if s, _ := w.api.Subscription(t.Context(), "stock"); s.Status.State == "paused" {
		t.Error("nobody paused a subscription")
	}

	viewer := w.logIn("viewer")
	page := w.get(viewer, "/subscriptions/stock", 200)
	if strings.Contains(page, "/pause") || !strings.Contains(page, "viewer") {
		t.Error("who may only read is offered to pause, or is not named")
	}
	if strings.Contains(w.get(viewer, "/topics/orders", 200), "Publish") {
		t.Error("who may only read is offered to publish")
	}
	for _, path := range []string{"/topics/orders/events", "/subscriptions/stock/pause", "/subscriptions/stock/test", "/dead-letters/stock/discard"} {
		w.post(viewer, path, url.Values{"csrf": {secretOf(page)}, "all": {"yes"}, "sure": {"yes"}}, 403)
	}

	admin := w.logIn("admin")
	page = w.get(admin, "/subscriptions/stock", 200)
	if !strings.Contains(page, "/subscriptions/stock/pause") {
		t.Error("who may operate is not offered to")
	}
	w.post(admin, "/subscriptions/stock/pause", nil, 403)
	w.post(admin, "/subscriptions/stock/pause", url.Values{"csrf": {secret}}, 403) // of no session
	if page := w.post(admin, "/subscriptions/stock/pause", url.Values{"csrf": {secretOf(page)}}, 200); !strings.Contains(page, ">paused<") {
		t.Error("it is not paused")
	}
	if log := w.logged.String(); !strings.Contains(log, "action=pause on=stock principal=admin") || strings.Contains(log, "secret-") {
		t.Errorf("the log: %s", log)
	}

	u, _ := url.Parse(w.base)
	stolen := admin.Jar.Cookies(u)
	w.post(admin, "/logout", url.Values{"csrf": {secretOf(page)}}, 200)
	thief := w.browser()
	thief.Jar.SetCookies(u, stolen)
	if page := w.get(thief, "/", 200); !strings.Contains(page, `name="token"`) {
		t.Error("a session lives on after its end")
	}
}

// TestCookieAndForgery: what a browser is told about the cookie, and what other sites cannot do.
func TestCookieAndForgery(t *testing.T) {
	w := newWorld(t, token("admin", auth.RoleRead, auth.RoleOperate, auth.RolePublish))
	b := w.browser()
	b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	secret := secretOf(w.get(b, "/login?to=//evil.example/", 200))
	b.Jar = nil
	login := func(header, value, to string) *http.Response {
		req, _ := http.NewRequest(http.MethodPost, w.base+"/login", strings.NewReader(url.Values{"csrf": {secret}, "token": {"secret-admin"}, "to": {to}}.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set(header, value)
		res, err := b.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res
	}
	for header, value := range map[string]string{"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"} {
		if res := login(header, value, "/"); res.StatusCode != 403 || len(res.Cookies()) > 0 {
			t.Errorf("a login with %s: %s", header, res.Status)
		}
	}
	for to, want := range map[string]string{"/topics?find=a": "/topics?find=a", "//evil.example": "/", "///evil.example": "/", "https://evil.example/": "/", `/\evil.example`: "/", "/v1/topics": "/", "": "/", "javascript:alert(1)": "/"} {
		if res := login("X-Forwarded-Proto", "https", to); res.StatusCode != 303 || res.Header.Get("Location") != want {
			t.Errorf("a login to %q: %s, %s", to, res.Status, res.Header.Get("Location"))
		}
	}
	c := login("X-Forwarded-Proto", "https", "/").Cookies()
	if len(c) != 1 || !c[0].HttpOnly || !c[0].Secure || c[0].SameSite != http.SameSiteStrictMode || c[0].MaxAge <= 0 || c[0].MaxAge > 24*3600 || strings.Contains(c[0].Value, "secret") {
		t.Errorf("%+v", c)
	}
	if c := login("X-Forwarded-Proto", "http", "/").Cookies(); len(c) != 1 || c[0].Secure {
		t.Errorf("without TLS: %+v", c)
	}
	// With a session, and all that a page of another site can make a browser send with it.
	admin := w.logIn("admin")
	secret = secretOf(w.get(admin, "/subscriptions/stock", 200))
	for header, value := range map[string]string{"Origin": "http://evil.example", "Sec-Fetch-Site": "same-site"} {
		req, _ := http.NewRequest(http.MethodPost, w.base+"/subscriptions/stock/pause", strings.NewReader("csrf="+secret))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set(header, value)
		w.do(admin, req, 403)
	}
	// The cookie is the console's: the API does not know it.
	req, _ := http.NewRequest(http.MethodGet, w.base+"/v1/topics", nil)
	res, err := admin.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 401 {
		t.Errorf("the API with a cookie: %s", res.Status)
	}
	// Without tokens there is no login, and the name of another host is refused.
	open := newWorld(t)
	if page := open.get(open.browser(), "/", 200); strings.Contains(page, "Log out") || !strings.Contains(page, "Topology") {
		t.Error("something is wrong with the overview where there is no login")
	}
	req, _ = http.NewRequest(http.MethodGet, open.base+"/", nil)
	req.Host = "rebound.example"
	open.do(open.browser(), req, 403)
}

// TestActions: each does what it says; what takes something away asks first, and says what it will touch.
func TestActions(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	page := w.get(b, "/dead-letters/stock", 200)
	if n := strings.Count(page, "?cause="); n != 2 {
		t.Fatalf("%d causes: %s", n, page)
	}
	form := url.Values{"csrf": {secretOf(page)}}
	_, rest, _ := strings.Cut(page, "?cause=")
	cause, _, _ := strings.Cut(rest, "#")
	form.Set("cause", cause)
	dead := func() int {
		s, err := w.api.Subscription(t.Context(), "stock")
		if err != nil {
			t.Fatal(err)
		}
		return s.Status.Dead
	}
	if page := w.post(b, "/dead-letters/stock/discard", form, 200); !strings.Contains(page, "Discard 3 dead letters?") || dead() != 4 {
		t.Errorf("%d dead, %s", dead(), page)
	}
	form.Set("sure", "yes")
	if page := w.post(b, "/dead-letters/stock/discard", form, 200); !strings.Contains(page, "3 dead letters discarded") || dead() != 1 {
		t.Errorf("%d dead, %s", dead(), page)
	}
	w.post(b, "/dead-letters/stock/discard", form, 404) // none of that cause is left
	w.post(b, "/dead-letters/stock/discard", url.Values{"csrf": form["csrf"], "sure": {"yes"}}, 400)
	w.post(b, "/dead-letters/stock/redrive", url.Values{"csrf": form["csrf"], "all": {"yes"}, "rate": {"-1"}, "sure": {"yes"}}, 400)
	if page := w.post(b, "/dead-letters/stock/redrive", url.Values{"csrf": form["csrf"], "all": {"yes"}, "rate": {"5"}, "sure": {"yes"}}, 200); !strings.Contains(page, "1 dead letter on the way again") {
		t.Errorf("%s", page)
	}
	if log := w.logged.String(); !strings.Contains(log, "action=discard on=stock principal=local") || !strings.Contains(log, "action=redrive") {
		t.Errorf("the log: %s", log)
	}

	form = url.Values{"csrf": form["csrf"], "to": {"earliest"}}
	if page := w.post(b, "/subscriptions/stock/seek", form, 200); !strings.Contains(page, "32 events</b> read before are read again") {
		t.Errorf("%s", page)
	}
	w.post(b, "/subscriptions/stock/seek", url.Values{"csrf": form["csrf"], "to": {"time"}, "time": {"yesterday"}}, 400)
	form.Set("sure", "yes")
	if page := w.post(b, "/subscriptions/stock/seek", form, 200); !strings.Contains(page, "a new epoch has begun") {
		t.Errorf("%s", page)
	}
	form = url.Values{"csrf": form["csrf"], "type": {"order.tried"}, "source": {"/console"}, "subject": {"k"}, "data": {`{"a": "<b>"}`}}
	if page := w.post(b, "/topics/orders/events", form, 200); !strings.Contains(page, "Stored.") || !strings.Contains(page, "order.tried") || !strings.Contains(page, "&lt;b&gt;") {
		t.Errorf("%s", page)
	}
	form.Set("data", "{")
	w.post(b, "/topics/orders/events", form, 400)
	if page := w.post(b, "/subscriptions/stock/test", form, 200); !strings.Contains(page, ">delivered<") || !strings.Contains(page, "POST") {
		t.Errorf("%s", page)
	}
}

// TestWhatIsNotThere: programs are told as everywhere, people on a page.
func TestWhatIsNotThere(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	for path, status := range map[string]int{"/nothing": 404, "/topics/none": 404, "/subscriptions/none": 404, "/dead-letters/none": 404, "/dead-letters/stock/none": 404, "/topics/orders/event?id=x&source=y": 404} {
		if page := w.get(b, path, status); !strings.Contains(page, `role="alert"`) {
			t.Errorf("%s: %s", path, page)
		}
	}
	for _, path := range []string{"/v1/nothing", "/v1", "/nothing", "/metrics/x"} {
		res, err := http.Get(w.base + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 404 || res.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s, %s", path, res.Status, res.Header.Get("Content-Type"))
		}
	}
	if page := w.get(b, "/topics/orders?from=yesterday", 200); !strings.Contains(page, `class="problem"`) {
		t.Error("a place that is none is not said to be wrong")
	}
	if page := w.get(b, "/operations?id=nothing", 200); !strings.Contains(page, `class="problem"`) {
		t.Error("an operation that is not there is not said to be missing")
	}
	if page := w.get(b, "/services?find=nothing", 200); !strings.Contains(page, "No service has this in its name.") {
		t.Error("a service that is not found is not said to be missing")
	}
}

// TestLoginReadsNoBodyOfAnySize sends a file to the page of the login, as somebody without a token could.
func TestLoginReadsNoBodyOfAnySize(t *testing.T) {
	w := newWorld(t, token("all", auth.RoleRead, auth.RolePublish, auth.RoleOperate))
	in, out := io.Pipe()
	form := multipart.NewWriter(out)
	sent := make(chan bool, 1) // whether all of it was taken
	go func() {
		part, err := form.CreateFormFile("file", "large")
		for n := 0; n < 64 && err == nil; n++ {
			_, err = part.Write(make([]byte, 1<<20))
		}
		sent <- err == nil
		out.CloseWithError(errors.Join(err, form.Close()))
	}()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, w.base+"/login?to=/topics", in)
	req.Header.Set("Content-Type", form.FormDataContentType())
	if page := w.do(w.browser(), req, 200); !strings.Contains(page, `value="/topics"`) {
		t.Errorf("the page forgot where to go: %.400s", page)
	}
	in.Close()
	if <-sent {
		t.Error("64 MiB were read of who has not logged in")
	}
}
