package server_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/server"
)

// TestStatusShowsTheWindow: what was published is remembered, and the status says so, also after a restart.
func TestStatusShowsTheWindow(t *testing.T) {
	s := startServer(t, server.Options{Topics: []tandem.Topic{{Name: "orders"}}, Version: "test"})
	for n := range 3 {
		if err := publish("http://"+s.APIAddr(), 0, n); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		resp, err := client.Get("http://" + s.APIAddr() + "/v1/status")
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Version, Engine string
			Ready           bool
			Window          struct {
				Entries, Max int
				Bytes        int64
				Keep         tandem.Duration
				Oldest       time.Time
			}
		}
		err = json.NewDecoder(resp.Body).Decode(&got)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v", resp.Status, err)
		}
		w := got.Window
		if got.Version != "test" || got.Engine != "embedded" || !got.Ready || w.Entries != 3 || w.Max == 0 || w.Bytes == 0 ||
			time.Duration(w.Keep) != 24*time.Hour || time.Since(w.Oldest) > time.Hour {
			t.Errorf("%+v", got)
		}
		stopServer(t, s)
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
