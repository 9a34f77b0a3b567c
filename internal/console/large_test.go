package console_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem/internal/auth"
	"github.com/tandem-hybrid/tandem/internal/console"
)

// TestLargeDeadLetters: the page of dead letters does not take all of them into memory, which may be a gigabyte.
func TestLargeDeadLetters(t *testing.T) {
	const pages, perPage = 8, 16
	data := strings.Repeat("x", 1<<20)
	asked := 0
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/subscriptions/pay/dead-letters" {
			t.Errorf("the page asks for %s", r.URL)
		}
		var letters []string
		for i := range perPage {
			letters = append(letters, fmt.Sprintf(`{"id":"%d-%d","subscription":"pay","reason":"refused","at":"2026-01-31T09:30:00Z","event":{"specversion":"1.0","id":"1","source":"/s","type":"t","data":"`, asked, i)+data+`"}}`)
		}
		next := ""
		if asked++; asked < pages {
			next = `,"next":"` + fmt.Sprint(asked) + `"`
		}
		_, _ = io.WriteString(w, `{"deadLetters":[`+strings.Join(letters, ",")+`]`+next+`}`)
	})
	srv := httptest.NewServer(console.New(console.Options{API: api, Auth: auth.New(nil), Logger: slog.New(slog.DiscardHandler)}))
	defer srv.Close()
	res, err := http.Get(srv.URL + "/dead-letters/pay")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%s, %v: %.400s", res.Status, err, page)
	}
	if asked != 2 || !strings.Contains(string(page), "Of the first 32; there are more.") {
		t.Errorf("the page asked %d times for 16 MiB of dead letters: %.2000s", asked, page)
	}
}
