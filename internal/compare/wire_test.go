package compare

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// A request that may have had its effects when its connection died is not sent again, whatever it has for that.
func TestSentOnce(t *testing.T) {
	var came atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if came.Add(1) > 1 {
			panic(http.ErrAbortHandler)
		}
	}))
	defer srv.Close()
	c := newClient(&wire{}, func(string) bool { return false })
	defer c.CloseIdleConnections()
	for _, want := range []Told{Accepted, Unknown} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, strings.NewReader("an order"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Idempotency-Key", "1")
		if told := Send(c, req); told != want {
			t.Errorf("told %d, want %d", told, want)
		}
	}
	if n := came.Load(); n != 2 {
		t.Errorf("%d requests came, and 2 were sent", n)
	}
}
