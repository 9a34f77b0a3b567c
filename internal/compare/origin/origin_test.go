package origin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-hybrid/tandem/internal/compare/consumer"
)

// others starts services that want to know; those of dead answer nothing any more.
func others(t *testing.T, n int, dead ...int) (urls []string, took func(int) int) {
	t.Helper()
	servers := make([]*httptest.Server, n)
	consumers := make([]*consumer.Consumer, n)
	for i := range servers {
		c, err := consumer.Open(consumer.Plain, filepath.Join(t.TempDir(), "c"))
		if err != nil {
			t.Fatal(err)
		}
		consumers[i], servers[i] = c, httptest.NewServer(c)
		t.Cleanup(servers[i].Close)
		urls = append(urls, servers[i].URL+"/events")
	}
	for _, i := range dead {
		servers[i].Close()
	}
	return urls, func(i int) int {
		w := httptest.NewRecorder()
		consumers[i].ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/taken", nil))
		var list []consumer.Taken
		if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
}

func do(t *testing.T, h http.Handler, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
	return w
}

func open(t *testing.T, opts Options) *Origin {
	t.Helper()
	o, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	return o
}

// With one of five dead, calls in sequence reach those before it, calls in parallel all others, and both tell the caller so.
func TestOneOfFiveIsDead(t *testing.T) {
	for tell, want := range map[string][]int{Nobody: {0, 0, 0, 0, 0}, Sequence: {1, 1, 0, 0, 0}, Parallel: {1, 1, 0, 1, 1}} {
		urls, took := others(t, 5, 2)
		o := open(t, Options{Type: "changed", Tell: tell, To: urls})
		w := do(t, o, http.MethodPost, "/happened/a", `{"unit":"1"}`)
		told := 0
		for i, n := range want {
			told += n
			if took(i) != n {
				t.Errorf("%s: service %d took %d, want %d", tell, i, took(i), n)
			}
		}
		status := http.StatusServiceUnavailable
		if tell == Nobody {
			status = http.StatusOK
		}
		if w.Code != status || w.Header().Get(Told) != fmt.Sprint(told) || (w.Header().Get(Failed) == "") != (status == http.StatusOK) {
			t.Errorf("%s: %d, told %s, want %d", tell, w.Code, w.Header().Get(Told), told)
		}
	}
}

// Who answers with an error was not told.
func TestOneRefuses(t *testing.T) {
	refuses := httptest.NewServer(http.NotFoundHandler())
	defer refuses.Close()
	urls, took := others(t, 1)
	for _, tell := range []string{Sequence, Parallel} {
		o := open(t, Options{Type: "changed", Tell: tell, To: append(urls, refuses.URL)})
		w := do(t, o, http.MethodPost, "/happened/a", `{"unit":"`+tell+`"}`)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get(Told) != "1" || !strings.Contains(w.Body.String(), "404") {
			t.Errorf("%s: %d, told %s, %s", tell, w.Code, w.Header().Get(Told), w.Body)
		}
	}
	if took(0) != 2 {
		t.Errorf("the other one took %d", took(0))
	}
}

// A page is shown whatever became of those who wanted to know.
func TestAPageIsIndifferent(t *testing.T) {
	urls, _ := others(t, 1, 0)
	o := open(t, Options{Type: "page.viewed", Tell: Sequence, To: urls, Indifferent: true, PageBytes: 1000})
	if w := do(t, o, http.MethodPost, "/happened/a", `{"unit":"1"}`); w.Code != http.StatusOK || w.Body.Len() != 1000 || w.Header().Get(Told) != "0" || w.Header().Get(Failed) == "" {
		t.Errorf("%d with %d bytes, told %s", w.Code, w.Body.Len(), w.Header().Get(Told))
	}
}

// What is stored and told is a CloudEvent; who is added later is told from then on.
func TestWhatIsToldIsAnEvent(t *testing.T) {
	var mu sync.Mutex
	var told []string
	topic := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var ev struct {
			SpecVersion, ID, Source, Type, Subject string
			Data                                   json.RawMessage
		}
		err := json.NewDecoder(r.Body).Decode(&ev)
		mu.Lock()
		told = append(told, fmt.Sprintln(r.URL.Path, r.Header.Get("Content-Type"), ev.SpecVersion, ev.Source, ev.Type, ev.Subject, string(ev.Data), ev.ID != "", err))
		mu.Unlock()
		w.WriteHeader(http.StatusCreated)
	}))
	defer topic.Close()
	file := filepath.Join(t.TempDir(), "file")
	o := open(t, Options{Type: "changed", Tell: Publish, To: []string{topic.URL + "/a"}, File: file})
	want := `/a application/cloudevents+json 1.0 /origin changed x {"unit":"5"} true <nil>` + "\n"
	if w := do(t, o, http.MethodPost, "/happened/x", `{"unit":"5"}`); w.Code != http.StatusOK || len(told) != 1 || told[0] != want {
		t.Errorf("%d, %q", w.Code, told)
	}
	if body, err := os.ReadFile(file); err != nil || strings.Count(string(body), "\n") != 1 || !strings.Contains(string(body), `"data":{"unit":"5"}`) {
		t.Errorf("the file has %q, %v", body, err)
	}
	if w := do(t, o, http.MethodPut, "/to", `["`+topic.URL+`/b"]`); w.Code != http.StatusNoContent {
		t.Errorf("%d", w.Code)
	}
	if w := do(t, o, http.MethodPost, "/happened/x", `{"unit":"6"}`); w.Code != http.StatusOK || len(told) != 2 || !strings.HasPrefix(told[1], "/b") {
		t.Errorf("%d, %q", w.Code, told)
	}
	for _, body := range []string{`{`, strings.Repeat(" ", maxBody+1)} {
		if w := do(t, o, http.MethodPost, "/happened/x", body); w.Code != http.StatusBadRequest || len(told) != 2 {
			t.Errorf("%d for a body that is none", w.Code)
		}
	}
	// A store that cannot store tells nobody.
	if err := o.file.Close(); err != nil {
		t.Fatal(err)
	}
	if w := do(t, o, http.MethodPost, "/happened/x", `{"unit":"7"}`); w.Code != http.StatusServiceUnavailable || len(told) != 2 {
		t.Errorf("%d, %q", w.Code, told)
	}
	o.file = nil
}

func TestOptionsThatCannotBeMeant(t *testing.T) {
	for _, opts := range []Options{{Tell: "loudly"}, {}, {Tell: Publish}, {Tell: Publish, To: []string{"http://a/", "http://b/"}}, {Tell: Sequence, To: []string{"a"}},
		{Tell: Nobody, File: t.TempDir()}} {
		if _, err := Open(opts); err == nil {
			t.Errorf("%+v", opts)
		}
	}
}
