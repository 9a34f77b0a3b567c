package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/auth"
)

var began = time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)

func ms(n int) time.Time { return began.Add(time.Duration(n) * time.Millisecond) }

func lasting(n int) tandem.Duration { return tandem.Duration(n) * tandem.Duration(time.Millisecond) }

func eventAt(id string, at time.Time, causes ...string) tandem.FlowNode {
	p, _ := tandem.ParsePosition(id)
	return tandem.FlowNode{ID: id, Kind: tandem.NodeEvent, Causes: causes, At: at, State: "stored", Event: &tandem.FlowEvent{Position: p, Type: "order.placed", ID: id, Source: "/s"}}
}

func deliveryOf(event, to, state string, at time.Time) tandem.FlowNode {
	return tandem.FlowNode{ID: event + "/" + to + "/0", Kind: tandem.NodeDelivery, Causes: []string{event}, At: at, State: state, Delivery: &tandem.Delivery{Subscription: to, State: state}}
}

func attemptOf(n *tandem.FlowNode, number int, at time.Time, took tandem.Duration, state string) tandem.FlowNode {
	return tandem.FlowNode{ID: n.ID + "/" + strconv.Itoa(number), Kind: tandem.NodeAttempt, Causes: []string{n.ID}, At: at, Took: took, State: state, Attempt: &tandem.Attempt{Number: number, At: at, Took: took}}
}

// TestBars: waiting, service and backoff lie where they were, and what goes on reaches the end.
func TestBars(t *testing.T) {
	d := deliveryOf("a/0/1", "pay", "delivered", ms(0))
	d.Took = lasting(400)
	late := deliveryOf("a/0/1", "mail", "retrying", ms(100))
	f := &tandem.Flow{Started: ms(0), Ended: ms(400), Nodes: []tandem.FlowNode{eventAt("a/0/1", ms(0)), d, attemptOf(&d, 1, ms(100), lasting(100), "failed"), attemptOf(&d, 2, ms(360), lasting(40), "succeeded"),
		late, attemptOf(&late, 1, ms(100), lasting(100), "failed"), deliveryOf("a/0/1", "log", "skipped", ms(0)), deliveryOf("a/0/1", "audit", "unread", ms(200))}}
	all := treeOf(f)
	a := axisOf(f)
	if got := fmt.Sprint(a.Ticks); got != "[{0.00% start 0} {25.00% middle 100 ms} {50.00% middle 200 ms} {75.00% middle 300 ms} {100.00% end 400 ms}]" {
		t.Errorf("the axis: %s", got)
	}
	for name, want := range map[string]string{
		"pay":   "waiting 0.00%+25.00%, backoff 50.00%+40.00%, service bad 25.00%+25.00%, service good 90.00%+10.00%",
		"mail":  "backoff open 50.00%+50.00%, service bad 25.00%+25.00%",
		"log":   "point plain 0.00%+3",
		"audit": "waiting open 50.00%+50.00%",
	} {
		i := slices.IndexFunc(all, func(n *step) bool { return n.isDelivery() && n.Delivery.Subscription == name })
		var got []string
		for _, b := range a.bars(all[i]) {
			got = append(got, b.Class+" "+b.X+"+"+b.Width)
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %s, not %s", name, strings.Join(got, ", "), want)
		}
	}
	// Whatever a flow lasted, there are few ticks, and the end is on the axis. What runs goes on at its end.
	for _, whole := range []time.Duration{0, time.Microsecond, 3 * time.Millisecond, 61 * time.Second, 100 * time.Hour, 90 * 365 * 24 * time.Hour} {
		a := axisOf(&tandem.Flow{Started: began, Ended: began.Add(whole)})
		if len(a.Ticks) < 2 || len(a.Ticks) > maxTicks+1 || len(a.Ticks) != a.Parts+1 || a.end.Before(began.Add(whole)) {
			t.Errorf("%s: %+v", whole, a)
		}
	}
	f.Ended = time.Time{}
	if end := axisOf(f).end; !end.Equal(ms(500)) {
		t.Errorf("what runs: %s", end)
	}
}

// TestGraphOfAFlow: boxes to the right of their cause, none over another, with a line for each cause; attempts and decisions have none.
func TestGraphOfAFlow(t *testing.T) {
	f := &tandem.Flow{}
	for i := range 4 {
		id := fmt.Sprint("a/0/", i)
		d := deliveryOf(id, "pay", "delivered", ms(i))
		reply := eventAt(fmt.Sprint("b/0/", i), ms(i+5), d.ID+"/1")
		reply.Kind = tandem.NodeReply
		f.Nodes = append(f.Nodes, eventAt(id, ms(i)), d, attemptOf(&d, 1, ms(i), 1, "succeeded"), deliveryOf(id, "mail", "skipped", ms(i)), deliveryOf(id, "log", "queued", ms(i)), reply)
	}
	f.Nodes = append(f.Nodes, eventAt("c/0/1", ms(9), "b/0/0", "b/0/3"), eventAt("c/0/2", ms(9), "c/0/3"), eventAt("c/0/3", ms(9), "c/0/2"))
	all := treeOf(f)
	if len(all) != len(f.Nodes) {
		t.Errorf("%d nodes of %d", len(all), len(f.Nodes))
	}
	g := graphOf(all, func(n *step) string { return n.ID })
	if len(g.Nodes) != 4*4+3 || g.Left != 0 || len(g.Edges) != 4*3+2+2 {
		t.Errorf("%d boxes, %d lines", len(g.Nodes), len(g.Edges))
	}
	apart(t, &topology{drawing: g.drawing})
	for _, n := range all {
		if box := g.boxes[n]; n.cause != nil && box != g.boxes[n.cause] && box.X <= g.boxes[n.cause].X {
			t.Errorf("%s is not to the right of %s", n.ID, n.cause.ID)
		}
	}
	if lines := strings.Join(g.Nodes[0].Lines, "; "); lines != "a/0/0; not for 1 subscription" {
		t.Errorf("%s", lines)
	}
}

// TestFlowOfMuch: a flow of thousands of nodes is a page like others, and all of it can be reached.
func TestFlowOfMuch(t *testing.T) {
	f := tandem.Flow{ID: "x/y", State: tandem.FlowFailed, Started: began, Ended: ms(1000), Links: make([]tandem.FlowLink, 500)}
	for i := range 200 {
		id := fmt.Sprint("a/0/", i)
		d := deliveryOf(id, "pay", "dead", ms(i))
		d.Reason = strings.Repeat("<b>", 500)
		f.Nodes = append(f.Nodes, eventAt(id, ms(i)), d)
		for n := range 8 {
			f.Nodes = append(f.Nodes, attemptOf(&d, n+1, ms(i), lasting(1), "failed"))
		}
	}
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.EscapedPath() != "/v1/flows/x%2Fy" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(&f)
	})
	c := New(Options{API: api, Auth: auth.New(nil)})
	get := func(path string) string {
		r := httptest.NewRequest(http.MethodGet, "http://localhost"+path, nil)
		r.Header.Set("Accept", "text/html")
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		if w.Code != http.StatusOK || w.Body.Len() > 400<<10 {
			t.Fatalf("%s: %d, %d bytes", path, w.Code, w.Body.Len())
		}
		return w.Body.String()
	}
	page := get("/flows/x%2Fy")
	for _, want := range []string{"1 to 150 of 2,000", "340 boxes are not drawn", "and 470 more"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	seen, pages := 0, 0
	for path := "/flows/x%2Fy?from=0"; path != ""; pages++ {
		page := get(path)
		seen += strings.Count(page, `<svg class="bars"`)
		path = ""
		if _, rest, ok := strings.Cut(page, `" rel="next">`); ok {
			before := page[:len(page)-len(rest)-len(`" rel="next">`)]
			path = before[strings.LastIndex(before, `href="`)+len(`href="`):]
			path, _, _ = strings.Cut(path, "#")
		}
		if pages > 100 {
			t.Fatal("the pages have no end")
		}
	}
	if seen != 2000 {
		t.Errorf("%d nodes on %d pages", seen, pages)
	}
	if page := get("/flows/x%2Fy?node=a/0/199/pay/0/8"); !strings.Contains(page, "1,951 to 2,000 of 2,000") || !strings.Contains(page, `id="node"`) {
		t.Error("a node is not on the page that its address leads to")
	}
}

// TestCurl: a shell reads the command as it is meant, whatever the event says, and it has nothing in it that cannot be seen.
func TestCurl(t *testing.T) {
	v := &visit{r: httptest.NewRequest(http.MethodGet, "http://localhost:8090/flows/x", nil)}
	hostile := "'; echo $(id) `id` \\' \" ! @ & é\u202e"
	for name, c := range map[string]struct {
		e    tandem.Event
		want []string // arguments at the end, before the address
	}{
		"JSON":    {tandem.Event{Data: []byte(`{"a": "it's $HOME"}`)}, []string{"--data-raw", `{"a": "it's $HOME"}`}},
		"a file":  {tandem.Event{Data: []byte("@/etc/passwd"), DataContentType: "text/plain"}, []string{"--data-raw", "@/etc/passwd"}},
		"hidden":  {tandem.Event{Data: []byte(hostile + "\x1b[31m"), DataContentType: "text/plain"}, []string{"--data-binary", "@event-data"}},
		"tab":     {tandem.Event{Data: []byte("a\tb"), DataContentType: "text/plain"}, []string{"--data-binary", "@event-data"}},
		"binary":  {tandem.Event{Data: []byte{0xff, 0}, DataContentType: "application/octet-stream", Encoding: tandem.DataBinary}, []string{"--data-binary", "@event-data"}},
		"much":    {tandem.Event{Data: bytes.Repeat([]byte("1"), maxInlineBytes+1)}, []string{"--data-binary", "@event-data"}},
		"nothing": {tandem.Event{DataContentType: "text/plain"}, []string{"-H", "content-type: text/plain"}},
	} {
		c.e.ID, c.e.Source, c.e.Type, c.e.Subject = "i'd $(id)", "/s", "t", hostile
		text := v.curlEvent("or'ders", &c.e)
		if visible(text) != text || strings.Contains(text, "\t") {
			t.Errorf("%s: %q", name, text)
		}
		cmd := exec.Command("sh", "-c", "curl() { for a; do printf '%s\\0' \"$a\"; done; }\n"+text)
		cmd.Env = []string{"TANDEM_TOKEN=secret", "PATH=/nonexistent"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s\n%s", name, err, out, text)
		}
		args := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
		want := append(slices.Clone(c.want), "http://localhost:8090/v1/topics/or%27ders/events")
		if n := len(args); n < 8 || args[1] != "Authorization: Bearer secret" || !slices.Equal(args[n-len(want):], want) {
			t.Errorf("%s: %q", name, args)
		}
		h := http.Header{}
		for i, a := range args {
			if name, value, ok := strings.Cut(a, ": "); ok && i > 0 && args[i-1] == "-H" {
				h.Set(name, value)
			}
		}
		e, err := tandem.ParseBinaryHTTP(h, c.e.Data)
		if err != nil || e.ID != c.e.ID || e.Subject != c.e.Subject {
			t.Errorf("%s: %v, %+v", name, err, e)
		}
	}
	if got := v.curl(http.MethodGet, "/v1/flows/x"); got != "curl -H \"Authorization: Bearer $TANDEM_TOKEN\" \\\n  'http://localhost:8090/v1/flows/x'" {
		t.Errorf("%s", got)
	}
}
