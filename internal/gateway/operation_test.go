package gateway

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

const operationRoutes = `[
	{"match":"/operations/{id}/status","operation":true},
	{"match":"POST /orders","topic":"orders","type":"order.placed","operation":{"topics":["replies"],"succeed":["done"],"fail":["failed"]}},
	{"match":"POST /svc/{how}","service":"svc","operation":{"topics":["replies"],"succeed":["done"],"fail":["failed"]}}]`

func operationOf(t *testing.T, a answer) (op tandem.Operation) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &op); err != nil || op.ID == "" {
		t.Fatalf("%d %s is no operation: %v", a.StatusCode, a.body, err)
	}
	return op
}

func (w *world) end(typ, id string) {
	w.t.Helper()
	if _, err := w.log.Append(w.t.Context(), "replies", []tandem.Event{{Source: "/svc", Type: typ, Data: []byte("{}"), Meta: tandem.Meta{Operation: id}}}); err != nil {
		w.t.Fatal(err)
	}
}

func TestOperationOnTopicRoute(t *testing.T) {
	w := newWorld(t, services{"svc": text(200, "")}, operationRoutes)
	a := w.do("POST", "/orders", "{}", "Idempotency-Key", "k")
	op := operationOf(t, a)
	path := "/operations/" + op.ID + "/status"
	if a.StatusCode != 202 || a.Header.Get("Location") != path || a.Header.Get("Retry-After") == "" || op.State != tandem.OperationRunning || op.Flow != a.Header.Get("Tandem-Flow") {
		t.Errorf("%d %v %s", a.StatusCode, a.Header, a.body)
	}
	if ev := w.events("orders")[0]; ev.Meta.Operation != op.ID {
		t.Errorf("the event has operation %q", ev.Meta.Operation)
	}
	if v, _ := w.log.State(t.Context(), "op/run/"+op.ID); v == nil {
		t.Error("the operation was not stored with its event")
	}
	again := w.do("POST", "/orders", "{}", "Idempotency-Key", "k")
	if again.StatusCode != 202 || again.Header.Get("Location") != path || receiptOf(t, again).Duplicate != tandem.DuplicateYes {
		t.Errorf("a repeat: %d %v %s", again.StatusCode, again.Header, again.body)
	}
	if n := w.ops.Running(); n != 1 {
		t.Errorf("%d operations run after a repeat, want 1", n)
	}
	w.end("done", op.ID)
	if got := operationOf(t, w.do("GET", path, "", "Prefer", "wait=10")); got.State != tandem.OperationSucceeded || got.Result == nil {
		t.Errorf("%+v", got)
	}
	w.eng.Fail(tandem.Errorf(tandem.CodeUnavailable, "full"))
	if a := w.do("POST", "/orders", "{}"); a.StatusCode != 503 {
		t.Errorf("full disk: %d", a.StatusCode)
	}
	w.eng.Fail(nil)
	if n := w.ops.Running(); n != 0 {
		t.Errorf("%d operations run though nothing was stored", n)
	}
	if a := w.do("DELETE", path, ""); a.StatusCode != 409 {
		t.Errorf("cancel of what has ended: %d", a.StatusCode)
	}
}

func TestOperationOnServiceRoute(t *testing.T) {
	ids := make(chan string, 1)
	var w *world
	w = newWorld(t, services{"svc": http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("Tandem-Operation")
		ids <- id
		rw.Header().Set("ETag", `"x"`)
		rw.Header().Set("Location", "/orders/7")
		status := map[string]int{"created": 201, "accepted": 202, "refused": 422, "broken": 500, "early": 201}
		switch how := strings.TrimPrefix(r.URL.Path, "/svc/"); how {
		case "abort":
			panic(http.ErrAbortHandler)
		case "early":
			w.end("done", id)
			if op, err := w.ops.Wait(r.Context(), id); err != nil || op.State != tandem.OperationSucceeded {
				t.Errorf("the event of a fast service: %+v, %v", op, err)
			}
			fallthrough
		default:
			rw.WriteHeader(status[how])
			io.WriteString(rw, "body")
		}
	})}, operationRoutes)
	for _, c := range []struct {
		how, prefer string
		status      int
		link, async bool // async: Location names the operation
		body        string
	}{
		{"created", "", 201, true, false, "body"},
		{"early", "", 201, true, false, "body"},
		{"accepted", "", 202, true, true, "body"},
		{"created", "respond-async", 202, true, true, ""},
		{"accepted", "respond-async", 202, true, true, "body"},
		{"refused", "", 422, false, false, "body"},
		{"refused", "respond-async", 422, false, false, "body"},
		{"broken", "", 500, false, false, "body"},
		{"abort", "", 502, false, false, ""},
	} {
		var header []string
		if c.prefer != "" {
			header = []string{"Prefer", c.prefer}
		}
		a := w.do("POST", "/svc/"+c.how, "x", header...)
		id := <-ids
		path := "/operations/" + id + "/status"
		link := ""
		if c.link {
			link = "<" + path + `>; rel="status"`
		}
		location := "/orders/7"
		if c.async {
			location = path
		}
		if c.status == 502 {
			location = ""
		}
		if a.StatusCode != c.status || a.Header.Get("Link") != link || a.Header.Get("Location") != location || (a.Header.Get("Retry-After") != "") != c.async {
			t.Errorf("%s %s: %d %v", c.how, c.prefer, a.StatusCode, a.Header)
		}
		if a.Header.Get("Tandem-Operation") != "" {
			t.Errorf("%s: the client sees Tandem-Operation", c.how)
		}
		if c.body != "" && a.body != c.body {
			t.Errorf("%s %s: body %q", c.how, c.prefer, a.body)
		}
		if c.prefer != "" && c.how == "created" {
			if op := operationOf(t, a); op.ID != id || a.Header.Get("Preference-Applied") != "respond-async" || a.Header.Get("Etag") != "" {
				t.Errorf("respond-async: %v %s", a.Header, a.body)
			}
		}
		got := w.do("GET", path, "")
		switch {
		case !c.link && got.StatusCode != 404:
			t.Errorf("%s left an operation behind: %s", c.how, got.body)
		case c.link && got.StatusCode != 200:
			t.Errorf("%s: its operation is not there: %d %s", c.how, got.StatusCode, got.body)
		case c.link && c.how != "early":
			if v, _ := w.log.State(t.Context(), "op/run/"+id); v == nil {
				t.Errorf("%s: the operation is not durable though the client knows it", c.how)
			}
			w.end("failed", id)
			if op := operationOf(t, w.do("GET", path+"?wait=10s", "")); op.State != tandem.OperationFailed {
				t.Errorf("%s: %+v", c.how, op)
			}
		}
	}
	if n := w.ops.Running(); n != 0 {
		t.Errorf("%d operations are left", n)
	}
	// The service's work is done: its answer stands.
	w.eng.Fail(tandem.Errorf(tandem.CodeUnavailable, "full"))
	a := w.do("POST", "/svc/created", "x")
	<-ids
	if a.StatusCode != 201 || a.body != "body" || a.Header.Get("Link") != "" {
		t.Errorf("full disk: %d %v", a.StatusCode, a.Header)
	}
	w.eng.Fail(nil)
}
